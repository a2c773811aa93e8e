"""The user's own URDF and OBJ files as objects of an episode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srcli.errors import ArtifactError
from srcli.evaluation.casefiles import read_cases_folder
from srcli.objects import build, catalogue
from srcli.objects.assets import Asset, entry_of, find_asset
from srcli.objects.bodies import load_body

CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
FACES = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]


def cube(scale: float, offset: float = 0.0, start: int = 0) -> str:
    lines = [f"v {x * scale + offset} {y * scale} {z * scale}" for x, y, z in CUBE]
    return "\n".join(lines + ["f " + " ".join(str(int(i) + start) for i in face.split()) for face in FACES]) + "\n"


URDF = """<robot name="x"><link name="a"><inertial><mass value="{mass}"/></inertial>
<visual><origin xyz="0 0 0.01" rpy="0 0 0"/>
<geometry><mesh filename="box.obj" scale="{scale}"/></geometry></visual>{more}</link></robot>
"""


def make(folder: Path, mass: str = "0.2", scale: str = "0.001 0.001 0.001", more: str = "") -> Path:
    (folder / "mine").mkdir(parents=True, exist_ok=True)
    (folder / "mine" / "box.mtl").write_text("newmtl red\nKd 0.9 0.1 0.05\n")
    (folder / "mine" / "box.obj").write_text("mtllib box.mtl\nusemtl red\n" + cube(60))
    path = folder / "mine" / "crate_2.urdf"
    path.write_text(URDF.format(mass=mass, scale=scale, more=more))
    return path


def test_a_urdf_gives_size_mass_and_colour(tmp_path: Path) -> None:
    make(tmp_path)
    asset = find_asset(tmp_path, "assets/mine/crate_2.urdf")
    assert asset is not None and asset.namesake == ""
    entry = entry_of(asset)
    model = build(entry)
    assert entry.label == "crate" and model.mass == pytest.approx(0.2)
    assert model.extent == pytest.approx([0.06] * 3) and len(model.hulls) == 1
    assert model.visuals[0].rgba == pytest.approx((0.9, 0.1, 0.05, 1.0), abs=1e-3)
    # The origin is the centre of mass, whatever the file's frame.
    assert model.low == pytest.approx([-0.03] * 3)


def test_groups_of_a_collision_mesh_are_convex_pieces(tmp_path: Path) -> None:
    collision = '<collision><geometry><mesh filename="parts.obj"/></geometry></collision>'
    path = make(tmp_path, more=collision)
    (tmp_path / "mine" / "parts.obj").write_text("o one\n" + cube(0.02) + "o two\n" + cube(0.02, 0.04, 8))
    assert len(load_body(str(path)).hulls) == 2


def test_a_bare_obj_gets_a_mass_from_its_volume(tmp_path: Path) -> None:
    (tmp_path / "brick.obj").write_text(cube(0.05))
    body = load_body(str(tmp_path / "brick.obj"))
    assert body.mass == pytest.approx(400 * 0.05**3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mass": "-1"}, "the mass -1 kg"),
        ({"mass": "heavy"}, "the mass 'heavy' is not a number"),
        ({"mass": "nan"}, "the mass nan kg"),
        ({"scale": "1 1 1"}, "measures 60 m"),
        ({"scale": "1 1"}, "not three finite numbers"),
        ({"more": '<collision><geometry><mesh filename="no.obj"/></geometry></collision>'}, "the mesh no.obj is missing"),
    ],
)
def test_what_cannot_be_an_object_is_refused(change: dict[str, str], message: str, tmp_path: Path) -> None:
    path = make(tmp_path, **change)
    with pytest.raises(ArtifactError) as caught:
        load_body(str(path))
    assert caught.value.message.startswith(f"{path}: ") and message in caught.value.message


def test_a_broken_obj_names_its_line(tmp_path: Path) -> None:
    path = make(tmp_path)
    (tmp_path / "mine" / "box.obj").write_text("v 0 0 0\nf 1 2 9\n")
    with pytest.raises(ArtifactError, match=r"box\.obj:2: 'f 1 2 9'"):
        load_body(str(path))


def test_case_files_take_the_users_objects_first(tmp_path: Path) -> None:
    make(tmp_path / "assets")
    (tmp_path / "assets" / "simplified_objects").mkdir()
    (tmp_path / "assets" / "simplified_objects" / "011.obj").write_text(cube(0.04))
    lines = ["mine/crate_2.urdf", "assets/simplified_objects/011.urdf", "assets/simplified_objects/012.urdf"]
    (tmp_path / "case00.txt").write_text("give me the crate\n0\n" + "".join(f"{p} 0.5 0 0.2 0 0 0\n" for p in lines))
    folder = read_cases_folder(tmp_path / "case00.txt", tmp_path / "assets")
    case = folder.cases[0].case
    assert len(folder.assets) == 2 and case.objects[2] == "apple" and case.keyword == "crate"
    own = catalogue()[case.objects[1]]
    assert own.label == "strawberry" and build(own).extent == pytest.approx([0.04] * 3)
    # Nothing generated ever draws them.
    assert not {a.name for a in folder.assets} & {*catalogue().seen, *catalogue().unseen}
    assert isinstance(folder.assets[0], Asset) and len({a.digest for a in folder.assets}) == 2


def test_a_file_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "box.obj").write_text(cube(0.05))
    first = find_asset(tmp_path, "box.obj")
    assert load_body(str(tmp_path / "box.obj")) is load_body(str(tmp_path / "box.obj"))
    (tmp_path / "box.obj").write_text(cube(0.1))
    again = find_asset(tmp_path, "box.obj")
    assert first is not None and again is not None and first.name != again.name
    catalogue().include(entry_of(asset) for asset in (again,))
    assert build(catalogue()[again.name]).extent[0] == pytest.approx(0.1)


@pytest.mark.parametrize("reference", ["../..", "/", "..", "x" * 300, "a\0b"])
def test_references_that_name_no_file_find_none(reference: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub.urdf").write_text("<robot/>")
    assert find_asset(tmp_path / "sub", reference) is None


@pytest.mark.parametrize("name", ["a%00.obj", "x" * 300 + ".obj"])
def test_a_mesh_that_no_file_can_be_named_like_is_missing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.urdf"
    path.write_text(
        f'<robot name="x"><link name="a"><visual><geometry><mesh filename="{name}"/></geometry></visual></link></robot>'
    )
    with pytest.raises(ArtifactError, match=r"is missing|not read"):
        load_body(str(path))
