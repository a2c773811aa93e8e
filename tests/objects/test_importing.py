"""Mesh files of the user: checks, sizes, mass and pieces."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from mesh_files import FACES, box, box_text

from srcli.errors import ArtifactError, ConfigError, DiskError, MissingAssetError
from srcli.objects import build, importing, write_urdf
from srcli.objects.bodies import load_body
from srcli.objects.formats import color_groups, optional
from srcli.objects.importing import prepare
from srcli.objects.library import (
    entry_of,
    read_record,
    stored_names,
)
from srcli.objects.mesh import hull_mesh, mass_properties
from srcli.objects.shapes import prism
from srcli.stages import add_object, object_requests


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = importlib.import_module

    def fake(name: str, package: str | None = None) -> Any:
        if name in names:
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", fake)


def test_a_box_has_its_size_volume_mass_and_one_piece(tmp_path: Path) -> None:
    made = prepare(box(tmp_path, (50, 40, 60)), scale=0.001)
    assert made.extent == pytest.approx([0.05, 0.04, 0.06])
    assert made.closed and made.volume == pytest.approx(0.05 * 0.04 * 0.06) and made.hull_share == pytest.approx(1.0)
    assert made.mass == pytest.approx(400 * made.volume) and made.pieces == "one convex hull" and len(made.hulls) == 1
    assert made.surfaces[0][0] == pytest.approx((0.9, 0.1, 0.05)) and made.notes == ()
    assert prepare(box(tmp_path), density=1000.0).mass == pytest.approx(0.12)
    assert prepare(box(tmp_path), density=1000.0, mass=0.3).mass == 0.3


@pytest.mark.parametrize(
    ("size", "hint"),
    [((50, 40, 60), "millimetres, add --scale 0.001"), ((12, 4, 6), "centimetres, add --scale 0.01"), ((0.0001,) * 3, "--scale")],
)
def test_a_wrong_unit_is_refused_with_a_guess(tmp_path: Path, size: tuple[float, float, float], hint: str) -> None:
    with pytest.raises(ArtifactError, match="objects on the table measure") as caught:
        prepare(box(tmp_path, size))
    assert hint in caught.value.hint


def test_up_axis_and_inside_out_surfaces(tmp_path: Path) -> None:
    path = box(tmp_path, (0.02, 0.06, 0.04), [" ".join(reversed(face.split())) for face in FACES])
    made = prepare(path, up="y")
    assert made.extent == pytest.approx([0.02, 0.04, 0.06]) and made.volume > 0
    assert made.notes == ("the surface was inside out and has been turned",)
    mesh = made.surfaces[0][1]
    assert np.linalg.det((mesh.vertices - mesh.vertices.mean(axis=0))[mesh.faces]).sum() > 0


def test_an_open_surface_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "coacd")
    made = prepare(box(tmp_path, faces=FACES[:-1]))
    assert not made.closed and made.volume == pytest.approx(0.00012)
    assert any("not closed" in note for note in made.notes) and any("coacd is not installed" in note for note in made.notes)


@pytest.mark.parametrize("name", ["trimesh", "coacd"])
def test_what_the_extra_meshes_holds_is_there_for_the_tests(name: str) -> None:
    assert optional(name) is not None


def test_without_coacd_a_hollow_shape_becomes_its_hull_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trimesh.creation.annulus(r_min=0.03, r_max=0.036, height=0.07).export(tmp_path / "ring.stl")
    without(monkeypatch, "coacd")
    made = prepare(tmp_path / "ring.stl")
    assert made.pieces == "one convex hull (coacd is not installed)" and made.hull_share < 0.4
    assert "69% more than the shape fills" in made.notes[0]
    with pytest.raises(MissingAssetError, match="coacd is not installed"):
        prepare(tmp_path / "ring.stl", pieces="coacd")


def test_coacd_cuts_an_angle_into_pieces_that_leave_its_inside_free(tmp_path: Path) -> None:
    outline = np.array([[0, 0], [60, 0], [60, 20], [20, 20], [20, 60], [0, 60]], dtype=float)
    mesh = prism(outline, 30.0, 1.0).mesh
    lines = [f"v {x} {y} {z}" for x, y, z in mesh.vertices.tolist()]
    (tmp_path / "angle.obj").write_text("\n".join([*lines, *(f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist())]) + "\n")
    made = prepare(tmp_path / "angle.obj", scale=0.001)
    assert made.closed and made.pieces == f"coacd ({len(made.hulls)})" and len(made.hulls) >= 2
    # One hull would fill the corner between the arms: two fifths more than the pieces do.
    filled = mass_properties(tuple(hull_mesh(points) for points in made.hulls), (1.0,) * len(made.hulls)).volume
    assert filled == pytest.approx(made.volume, rel=0.05) and made.hull_share < 0.8


def test_trimesh_reads_stl_glb_and_ply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = trimesh.creation.box((0.02, 0.04, 0.06))
    shape.visual.face_colors = [20, 60, 220, 255]
    for kind in ("stl", "glb", "ply"):
        path = tmp_path / f"b.{kind}"
        shape.export(path)
        made = prepare(path)
        # glTF has y up.
        assert made.extent == pytest.approx([0.02, 0.06, 0.04] if kind == "glb" else [0.02, 0.04, 0.06], rel=1e-5)
        assert made.closed and made.volume == pytest.approx(4.8e-5, rel=1e-4), kind
        if kind != "stl":
            assert made.surfaces[0][0] == pytest.approx((20 / 255, 60 / 255, 220 / 255), abs=0.01), kind
    without(monkeypatch, "trimesh")
    with pytest.raises(MissingAssetError, match="stl files need trimesh"):
        prepare(tmp_path / "b.stl")


def test_a_texture_gives_the_colours_of_the_faces(tmp_path: Path) -> None:
    from PIL import Image

    picture = np.zeros((64, 64, 3), dtype=np.uint8)
    picture[:, :32], picture[:, 32:] = (220, 20, 20), (20, 40, 220)
    Image.fromarray(picture).save(tmp_path / "t.png")
    (tmp_path / "t.mtl").write_text("newmtl m\nKd 1 1 1\nmap_Kd t.png\n")
    # Three sides look at the left half of the picture, three at the right one.
    text = "mtllib t.mtl\nusemtl m\n" + box_text((0.05, 0.05, 0.05)).split("f ")[0] + "vt 0.2 0.5\nvt 0.8 0.5\n"
    for number, face in enumerate(FACES):
        text += "f " + " ".join(f"{corner}/{1 + number % 2}" for corner in face.split()) + "\n"
    (tmp_path / "t.obj").write_text(text)
    made = prepare(tmp_path / "t.obj")
    assert len(made.surfaces) == 2
    reds = sorted(rgb[0] for rgb, _ in made.surfaces)
    assert reds == pytest.approx([20 / 255, 220 / 255], abs=0.03) and made.closed


def test_colour_groups_are_few_and_cover_all_faces() -> None:
    rng = np.random.default_rng(3)
    groups = color_groups(rng.uniform(size=(500, 3)), rng.uniform(size=500))
    assert 2 <= len(groups) <= 6
    assert sorted(np.concatenate([faces for _, faces in groups]).tolist()) == list(range(500))


def urdf(folder: Path, visual: str, collision: str = "") -> Path:
    """A URDF of one link, beside it a box, and two files with the names of meshes and nothing in them."""
    box(folder)
    (folder / "a.dae").write_text("<COLLADA/>")
    (folder / "a.stl").write_bytes(b"nothing of the kind")
    path = folder / "x.urdf"
    more = f"<collision><geometry>{collision}</geometry></collision>" if collision else ""
    path.write_text(f'<robot name="x"><link name="a"><visual><geometry>{visual}</geometry></visual>{more}</link></robot>')
    return path


def damaged(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "x.obj"
    if kind == "missing":
        return path
    if kind == "format":
        path = folder / "x.step"
        path.write_text("x")
    elif kind == "nan":
        path.write_text(box_text((0.05, 0.05, 0.05)).replace("v 0.0 0.0 0.0", "v nan 0.0 0.0"))
    elif kind == "flat":
        path.write_text(box_text((0.05, 0.05, 0.0)))
    elif kind == "empty":
        path.write_text("")
    elif kind == "truncated":
        path.write_text("v 0 0 0\nv 1 0\nf 1 2 3\n")
    elif kind == "binary":
        path.write_bytes(bytes(range(256)) * 4)
    elif kind == "faces":
        path.write_text("v 0 0 0\n" + "f 1 1 1\n" * 200_001)
    elif kind == "bytes":
        monkeypatch.setattr(importing, "MOST_BYTES", 50)
        box(folder)
        path = folder / "box.obj"
    elif kind == "urdf":
        path = folder / "x.urdf"
        path.write_text(
            '<robot name="x"><link name="a"><visual><geometry><mesh filename="no.obj"/></geometry></visual></link></robot>'
        )
    elif kind == "xml":
        path = folder / "x.urdf"
        path.write_text("<robot><link>")
    elif kind == "encoding":
        path = folder / "x.urdf"
        path.write_text('<?xml version="1.0" encoding="none"?><robot/>')
    elif kind == "two numbers":
        path.write_text(box_text((0.05, 0.05, 0.05)).replace("v 0.05 0.05 0.05", "v 0.05 0.05"))
    elif kind == "endless":
        path.write_text(box_text((0.05, 0.05, 0.05)).replace("v 0.05 0.05 0.05", "v 1e300 -1e300 0.05"))
    elif kind in SHAPES:
        path = urdf(folder, SHAPES[kind])
    return path


def test_a_material_library_that_no_file_can_be_named_like_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "x.obj"
    path.write_text("mtllib " + "m" * 300 + ".mtl\n" + box_text((0.05, 0.05, 0.05)))
    assert any("is not there" in note for note in prepare(path).notes)


SHAPES = {
    "box 0": '<box size="0 0 0"/>',
    "box -1": '<box size="0.05 -1 0.05"/>',
    "sphere nan": '<sphere radius="nan"/>',
    "sphere": "<sphere/>",
    "cylinder 0": '<cylinder radius="0.02" length="0"/>',
    "cylinder flat": '<cylinder radius="0.02" length="1e-300"/>',
    "no scale": '<mesh filename="box.obj" scale="0 0 0"/>',
    "dae": '<mesh filename="a.dae"/>',
    "bad stl": '<mesh filename="a.stl"/>',
}

DAMAGES = {
    "missing": "no such file",
    "format": "'.step' files are not read",
    "nan": "not three finite numbers",
    "flat": "has no volume",
    "empty": "has no faces",
    "truncated": "cannot be read",
    "binary": "has no faces",
    "faces": "has 200001 faces, more than 200000",
    "bytes": "MB, more than",
    "urdf": "no.obj is missing",
    "xml": "cannot be read as URDF",
    "encoding": "cannot be read as URDF",
    "two numbers": "x.obj:8: 'v 0.05 0.05' cannot be read",
    "endless": "not three finite numbers up to 1e+09",
    "box 0": "the size of a box '0 0 0' is not three lengths above 0",
    "box -1": "the size of a box '0.05 -1 0.05' is not three lengths above 0",
    "sphere nan": "the radius of a sphere 'nan' is not a length above 0",
    "sphere": "the radius of a sphere '' is not a number",
    "cylinder 0": "the length of a cylinder '0' is not a length above 0",
    "cylinder flat": "the length of a cylinder '1e-300' is not a length above 0",
    "no scale": "measures 0 m",
    "dae": "a.dae: cannot be read as DAE",
    "bad stl": "a.stl: has no faces",
}


# A warning of numpy would reach the user's terminal beside the error.
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", DAMAGES)
def test_what_cannot_be_used_is_refused_in_one_line(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = damaged(kind, tmp_path, monkeypatch)
    with pytest.raises(ArtifactError) as caught:
        prepare(path)
    assert DAMAGES[kind] in caught.value.message and "\n" not in caught.value.message and caught.value.hint
    assert str(tmp_path) in caught.value.message


@pytest.mark.parametrize("kind", ["stl", "glb", "ply"])
def test_damaged_binary_meshes_are_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / f"x.{kind}").write_bytes(b"glTF or ply or nothing of the kind" * 5)
    with pytest.raises(ArtifactError, match=rf"x\.{kind}"):
        prepare(tmp_path / f"x.{kind}")


def test_what_the_reader_logs_of_odd_files_is_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = str(trimesh.creation.box((0.02, 0.04, 0.06)).export(file_type="stl_ascii"))
    (tmp_path / "x.stl").write_text(text.replace("facet normal ", "facet normal x", 1))
    assert prepare(tmp_path / "x.stl").closed and not caplog.records


@pytest.mark.parametrize("numbers", [{"scale": 0.0}, {"density": -1.0}, {"mass": float("nan")}])
def test_numbers_out_of_range_are_refused(numbers: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a number above 0"):
        prepare(box(tmp_path), **numbers)  # type: ignore[arg-type]


def test_a_urdf_keeps_its_pieces_and_its_mass(tmp_path: Path) -> None:
    (tmp_path / "box.obj").write_text(box_text((1, 1, 1)))
    shape = '<{0}><geometry><mesh filename="{1}.obj" scale="0.05 0.05 0.05"/></geometry></{0}>'
    (tmp_path / "two.obj").write_text("o a\n" + box_text((1, 1, 0.4)) + "o b\n" + box_text((1, 0.4, 1), start=8))
    (tmp_path / "x.urdf").write_text(
        '<robot name="x"><link name="a"><inertial><mass value="0.2"/></inertial>'
        f"{shape.format('visual', 'box')}{shape.format('collision', 'two')}</link></robot>"
    )
    made = prepare(tmp_path / "x.urdf")
    assert made.pieces == "from the file (2)" and made.mass == 0.2
    assert prepare(tmp_path / "x.urdf", density=100.0).mass == pytest.approx(100 * 0.05**3)


@pytest.mark.parametrize("kind", ["stl", "glb", "ply", "STL"])
def test_meshes_of_a_urdf_have_any_format(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = trimesh.creation.box((20, 40, 60))
    shape.visual.face_colors = [20, 60, 220, 255]
    # glTF has y up: written so that z is up when it is read.
    shape.apply_transform(np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]]) if kind == "glb" else np.eye(4))
    (tmp_path / f"part.{kind}").write_bytes(shape.export(file_type=kind.lower()))
    mesh = f'<mesh filename="package://part.{kind}" scale="0.001 0.001 0.001"/>'
    path = urdf(tmp_path, mesh, mesh)
    made = prepare(path)
    assert made.extent == pytest.approx([0.02, 0.04, 0.06], rel=1e-5) and made.closed and made.volume == pytest.approx(4.8e-5)
    assert made.pieces == "from the file (1)"
    body = load_body(str(path))
    assert len(body.hulls) == 1 and body.files == (path, tmp_path / f"part.{kind}")
    if kind.lower() != "stl":
        assert made.surfaces[0][0] == pytest.approx((20 / 255, 60 / 255, 220 / 255), abs=0.01)
    without(monkeypatch, "trimesh")
    with pytest.raises(MissingAssetError, match=rf"part\.{kind}: \.{kind.lower()} files need trimesh"):
        prepare(path)


def test_every_mesh_of_a_collision_scene_is_a_convex_piece(tmp_path: Path) -> None:
    halves = [trimesh.creation.box((0.02, 0.02, 0.02)).apply_translation((x, 0, 0)) for x in (0.0, 0.05)]
    trimesh.Scene(halves).export(tmp_path / "two.glb")
    made = prepare(urdf(tmp_path, '<mesh filename="box.obj"/>', '<mesh filename="two.glb"/>'), pieces="file")
    assert made.pieces == "from the file (2)"
    assert [np.ptp(points, axis=0).max() for points in made.hulls] == pytest.approx([0.02] * 2)


def test_one_bad_file_does_not_keep_the_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(add_object, "embedded_unknown", lambda text: ())
    without(monkeypatch, "trimesh")
    box(tmp_path)
    trimesh.creation.box((0.02, 0.04, 0.06)).export(tmp_path / "b.stl")
    damaged("two numbers", tmp_path, monkeypatch)
    (tmp_path / "m.yaml").write_text(
        "objects:\n- {file: b.stl, label: stl}\n- {file: x.obj, label: torn}\n"
        "- {file: box.obj, label: good}\n- {file: box.obj, label: fine}\n"
    )
    told: list[str] = []
    done = add_object.run_import(object_requests.read_manifest(tmp_path / "m.yaml"), tmp_path / "lib", progress=told.append)
    assert [made.name for made in done.added] == ["good", "fine"] and stored_names(tmp_path / "lib") == ("fine", "good")
    assert told == ["stl: failed", "torn: failed", "good: added", "fine: added"]
    assert "b.stl: .stl files need trimesh (pip install" in done.failed[0] and "'v 0.05 0.05' cannot be read" in done.failed[1]


def test_what_is_interrupted_leaves_nothing_in_the_way_of_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(text: str) -> tuple[str, ...]:
        raise KeyboardInterrupt

    request = object_requests.Request(file=str(box(tmp_path)), label="crate")
    with pytest.raises(KeyboardInterrupt):
        add_object.run(request, tmp_path / "lib", test=False, words_known=interrupted)
    assert stored_names(tmp_path / "lib") == () and not any((tmp_path / "lib").iterdir())
    assert add_object.run(request, tmp_path / "lib", test=False, words_known=lambda text: ()).name == "crate"


def test_a_library_that_cannot_be_written_ends_an_import(tmp_path: Path) -> None:
    requests = [object_requests.Request(file=str(box(tmp_path)), name=name, label=name) for name in ("one", "two")]
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write the library"):
        add_object.run_import(requests, tmp_path / "file")


@pytest.mark.parametrize("what", ["name", "label"])
def test_a_name_that_no_folder_can_have_is_refused_with_the_limit(what: str, tmp_path: Path) -> None:
    path = str(box(tmp_path))
    words = {"name": "crate", "label": "crate", what: "a" * 101}
    with pytest.raises(ConfigError, match=rf"the {what} 'a{{20}}\.\.\.' has 101 characters, more than 100") as caught:
        add_object.run(object_requests.Request(file=path, **words), tmp_path / "lib", test=False)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2 and "shorter --label or --name" in caught.value.hint and not (tmp_path / "lib").exists()
    (tmp_path / "m.yaml").write_text(f"objects: [{{file: box.obj, {what}: {'a' * 101}}}]")
    with pytest.raises(ArtifactError, match=r"object 1: the .* more than 100"):
        object_requests.read_manifest(tmp_path / "m.yaml")


def test_the_longest_name_finds_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(add_object, "embedded_unknown", lambda text: ())
    request = object_requests.Request(file=str(box(tmp_path)), label="a" * object_requests.LONGEST)
    for _ in range(2):
        added = add_object.run(request, tmp_path / "lib", force=True, test=False)
    write_urdf(build(entry_of(read_record(tmp_path / "lib", added.name), added.folder)), tmp_path / "urdf")


def test_fine_meshes_are_simplified_and_keep_their_size(tmp_path: Path) -> None:
    steps = 120
    grid = np.linspace(0, 1, steps)
    u, v = (a.ravel() for a in np.meshgrid(2 * np.pi * grid, np.pi * grid, indexing="ij"))
    points = 0.04 * np.column_stack([np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)])
    corner = (np.arange(steps - 1)[:, None] * steps + np.arange(steps - 1)).ravel()
    faces = np.vstack(
        [np.column_stack([corner, corner + 1, corner + steps]), np.column_stack([corner + 1, corner + steps + 1, corner + steps])]
    )
    (tmp_path / "ball.obj").write_text(
        "".join(f"v {x} {y} {z}\n" for x, y, z in points) + "".join(f"f {a} {b} {c}\n" for a, b, c in faces + 1)
    )
    made = prepare(tmp_path / "ball.obj", pieces="hull")
    shown = made.surfaces[0][1]
    assert made.faces == len(faces) and len(shown.faces) <= importing.SHOWN_FACES
    assert np.ptp(shown.vertices, axis=0) == pytest.approx([0.08] * 3, rel=0.02) and "simplified" in made.notes[-1]
