"""Every entry as a body: true to life, the same each time, found under its content's address."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srcli.errors import DiskError
from srcli.objects import Variation, build, catalogue, urdf_files, write_urdf

NAMES = catalogue().names


@pytest.mark.parametrize("name", NAMES)
def test_body_is_sound(name: str) -> None:
    entry = catalogue()[name]
    model = build(entry)
    points = np.vstack([v.vertices for v in model.visuals])
    assert np.isfinite(points).all()
    assert sum(len(v.faces) for v in model.visuals) < 1300
    assert len(model.hulls) <= 64
    low, high = points.min(axis=0), points.max(axis=0)
    assert model.extent == pytest.approx(high - low)
    hulls = np.vstack(model.hulls)
    assert (hulls >= low - 1e-4).all() and (hulls <= high + 1e-4).all()
    # Print and trim may stand off the body, but only a little.
    assert (hulls.min(axis=0) - low).max() < 0.008 and (high - hulls.max(axis=0)).max() < 0.008
    assert 0.02 < model.extent.max() < 0.21
    assert np.sort(model.extent)[0] < 0.081 or entry.category == "bowl"
    assert 0.01 <= model.mass <= 0.8
    volume = np.prod(model.extent)
    assert 15 < model.mass / volume < 3000, "kg per cubic metre of the bounding box"
    moments = np.linalg.eigvalsh(model.inertia)
    assert moments[0] > 0 and moments[2] <= moments[0] + moments[1] + 1e-12
    assert (low < 0).all() and (high > 0).all()
    assert len({v.rgba for v in model.visuals}) == len(model.visuals)


def test_vessels_are_as_light_as_their_walls() -> None:
    cup = build(catalogue()["yellow_cup"])
    inside = np.abs(np.vstack([h.mean(axis=0) for h in cup.hulls])[1:, :2])
    assert np.linalg.norm(inside, axis=1).min() > 0.02


def test_variation_scales_body_and_mass() -> None:
    entry = catalogue()["apple"]
    plain, large = build(entry), build(entry, Variation(scale=(1.1, 1.0, 1.2)))
    assert large.extent / plain.extent == pytest.approx([1.1, 1.0, 1.2])
    assert large.mass / plain.mass == pytest.approx(1.32)


def test_recolour_and_jitter_touch_their_colour_only() -> None:
    entry = catalogue()["red_mug"]
    plain = {v.rgba for v in build(entry).visuals}
    blue = build(entry, Variation(recolor=(("red", "blue"),)))
    assert len({v.rgba for v in blue.visuals} & plain) == 1
    shifted = build(entry, Variation(jitter=(("red", (0.0, 0.0, -0.5)),)))
    assert max(shifted.visuals[0].rgba[:3]) == pytest.approx(0.4)


def test_urdf_has_one_link_and_own_colours(tmp_path: Path) -> None:
    model = build(catalogue()["toy_airplane"])
    urdf = write_urdf(model, tmp_path).read_text()
    assert urdf.count("<link") == 1 and urdf.count("<visual>") == len(model.visuals)
    names = [line.split('name="')[1].split('"')[0] for line in urdf.splitlines() if "<material" in line]
    assert len(set(names)) == len(model.visuals)
    collision = urdf_files(model)["collision.obj"]
    assert collision.count("\no ") + collision.startswith("o ") == len(model.hulls)


def test_address_follows_content(tmp_path: Path) -> None:
    entry = catalogue()["pear"]
    first = write_urdf(build(entry), tmp_path)
    stamp = (first.parent / "visual0.obj").stat().st_mtime_ns
    assert write_urdf(build(entry), tmp_path) == first
    assert (first.parent / "visual0.obj").stat().st_mtime_ns == stamp
    others = [Variation(scale=(1.0, 1.0, 1.01)), Variation(recolor=(("green", "red"),))]
    paths = {first, *(write_urdf(build(entry, other), tmp_path) for other in others)}
    assert len(paths) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.parent.name for p in paths), "no temporary folder stays"


def test_build_is_the_same_in_another_process(tmp_path: Path) -> None:
    names = ("banana", "printed_gear", "yellow_bowl", "zebra")
    here = [write_urdf(build(catalogue()[n]), tmp_path / "a").parent.name for n in names]
    code = (
        "import sys; from pathlib import Path; from srcli.objects import *\n"
        f"print(*[write_urdf(build(catalogue()[n]), Path(sys.argv[1])).parent.name for n in {names!r}])"
    )
    there = subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], capture_output=True, text=True, check=True)
    assert there.stdout.split() == here


def test_unwritable_folder_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError):
        write_urdf(build(catalogue()["soap"]), tmp_path / "file")
