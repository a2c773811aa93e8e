"""Meshes as they are found: names, comments, textures, paths, sizes, and files that are not to be trusted."""

from __future__ import annotations

import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from mesh_files import FACES, MJCF, RED, box, box_text, laid, link, picture
from PIL import Image

from srcli.errors import ArtifactError, ConfigError, SrcliError
from srcli.objects import build, decompose, write_urdf
from srcli.objects.assets import find_asset, install
from srcli.objects.bodies import load_body
from srcli.objects.decompose import empty_share
from srcli.objects.importing import prepare
from srcli.objects.library import entry_of, read_record
from srcli.objects.sources import Places
from srcli.sim.render import contact_sheet_images
from srcli.stages import add_object
from srcli.stages.object_requests import Request


def textured(folder: Path, statement: str = "map_Kd t.png", library: str = "mtllib t.mtl", without: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.mtl").write_text(f"newmtl m\nKd 0 0 0\n{statement}\n")
    path = folder / "x.obj"
    path.write_text(f"{library}\nusemtl m\n{laid(without=without)}")
    return path


# ------------------------------------------------------------------------------------------------------------- identity


@pytest.mark.parametrize(("one", "other"), [("杯子.obj", "碗.obj"), ("cup-1.obj", "cup_1.obj"), ("a/b.obj", "a-b.obj")])
def test_files_whose_names_read_alike_are_two_objects(one: str, other: str, tmp_path: Path) -> None:
    for name, size in ((one, 0.03), (other, 0.06)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(box_text((size,) * 3))
    assets = [find_asset(tmp_path, name) for name in (one, other)]
    assert assets[0] is not None and assets[1] is not None and assets[0].name != assets[1].name
    install([asset for asset in assets if asset is not None])
    from srcli.objects import catalogue

    sizes = [build(catalogue()[asset.name]).extent[0] for asset in assets if asset is not None]
    assert sizes == pytest.approx([0.03, 0.06])


def test_a_texture_is_part_of_what_a_file_is(tmp_path: Path) -> None:
    path = textured(tmp_path)
    picture(tmp_path / "t.png")
    first, asset = prepare(path).sha256, find_asset(tmp_path, "x.obj")
    picture(tmp_path / "t.png", 32)
    again = find_asset(tmp_path, "x.obj")
    assert prepare(path).sha256 != first and asset is not None and again is not None and asset.name != again.name


# ------------------------------------------------------------------------------------------------------------ the parser


def test_comments_and_continued_lines_are_legal(tmp_path: Path) -> None:
    text = (
        box_text((0.05, 0.04, 0.06))
        .replace("f 1 2 4 3", "f 1 2 \\\n 4 3 # the left side")
        .replace("f 5 7 8 6", "f 5 7 8 6# right")
    )
    (tmp_path / "x.obj").write_text("# made by hand\n\n" + text)
    made = prepare(tmp_path / "x.obj")
    assert made.closed and made.extent == pytest.approx([0.05, 0.04, 0.06])


def test_a_face_without_a_place_on_the_texture_takes_its_mean(tmp_path: Path) -> None:
    picture(tmp_path / "t.png")
    made = prepare(textured(tmp_path, without=1))
    assert any(note == "2 triangles have no place on their texture: its mean colour" for note in made.notes)
    assert made.closed and sum(len(mesh.faces) for _, mesh in made.surfaces) == 12
    assert [mesh.skin is None for _, mesh in made.surfaces].count(True) == 1


@pytest.mark.parametrize(
    "statement", ["f 1/9 2/9 3/9", "f 1/-1 2/x 3", "vt", "vt x 1", "f 1// 2//7 3//", "usemtl", "mtllib", "\\", "o"]
)
def test_odd_statements_are_read_or_refused_in_one_line(statement: str, tmp_path: Path) -> None:
    (tmp_path / "x.obj").write_text(box_text((0.05,) * 3) + statement + "\n")
    try:
        prepare(tmp_path / "x.obj", pieces="hull")
    except ArtifactError as error:
        assert "x.obj:" in error.message and "cannot be read" in error.message


# ------------------------------------------------------------------------------------------------- colours and textures


@pytest.mark.parametrize(
    ("statement", "file"),
    [
        ("map_Kd t.png", "t.png"),
        ("map_Kd textures\\red.png", "textures/red.png"),
        ("map_Kd my picture.png", "my picture.png"),
        ("map_Kd -s 1 1 1 -o 0 0 -clamp on t.png", "t.png"),
        ("map_Kd -s 1 1 1 my picture.png", "my picture.png"),
        ("map_kd a%20b.png", "a b.png"),
        ('map_Kd "t.png"', "t.png"),
        ("\tmap_Kd   t.png   ", "t.png"),
    ],
)
def test_textures_are_found_as_people_write_them(statement: str, file: str, tmp_path: Path) -> None:
    picture(tmp_path / file)
    made = prepare(textured(tmp_path, statement))
    reds = sorted(rgb[0] for rgb, _ in made.surfaces)
    assert reds == pytest.approx([20 / 255, 220 / 255], abs=0.03) and made.notes == ()
    assert all(mesh.skin is not None for _, mesh in made.surfaces)


@pytest.mark.parametrize(
    "library", ["mtllib ./mine\\t.mtl", "mtllib my file.mtl", "mtllib t.mtl # lost otherwise", "mtllib a.mtl b.mtl"]
)
def test_material_libraries_are_found_as_people_write_them(library: str, tmp_path: Path) -> None:
    path = textured(tmp_path, library=library)
    for name in ("mine/t.mtl", "my file.mtl", "b.mtl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("newmtl m\nKd 0.1 0.8 0.2\n")
    (tmp_path / "a.mtl").write_text("newmtl other\nKd 1 1 1\n")
    (tmp_path / "t.mtl").write_text("newmtl m\nKd 0.1 0.8 0.2\n")
    made = prepare(path)
    assert made.surfaces[0][0] == (0.1, 0.8, 0.2) and made.notes == ()


def test_a_lost_texture_is_told_with_the_way_out(tmp_path: Path) -> None:
    """As robosuite lays them out: the textures beside the folder of the models."""
    picture(tmp_path / "assets" / "textures" / "deep" / "can.png")
    path = textured(tmp_path / "assets" / "objects" / "can", "map_Kd ../../textures/deep/can.png")
    made = prepare(path)
    assert made.surfaces[0][0] == (0.6, 0.6, 0.6)
    assert any("can.png' lies outside of" in note and "--textures FOLDER" in note for note in made.notes)
    found = prepare(path, places=Places(textures=str(tmp_path / "assets" / "textures")))
    assert len(found.surfaces) == 2 and found.notes == ()
    whole = prepare(path, places=Places(folder=str(tmp_path / "assets")))
    assert len(whole.surfaces) == 2 and whole.notes == ()
    absent = prepare(textured(tmp_path / "b", "map_Kd nowhere.png"))
    assert any("'nowhere.png' is not there" in note for note in absent.notes)
    with pytest.raises(ConfigError, match=r"--textures: .* is no folder"):
        prepare(path, places=Places(textures=str(tmp_path / "no")))


def test_materials_that_nothing_describes_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.obj").write_text("mtllib gone.mtl\nusemtl steel\n" + box_text((0.05,) * 3))
    notes = prepare(tmp_path / "x.obj").notes
    assert any("'gone.mtl' is not there" in note for note in notes) and any(
        "'steel' is described nowhere" in note for note in notes
    )


def test_a_damaged_picture_costs_the_texture_not_the_object(tmp_path: Path) -> None:
    (tmp_path / "t.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    made = prepare(textured(tmp_path))
    assert any("'t.png' cannot be read" in note for note in made.notes) and made.closed


def test_colours_of_vertices_are_kept(tmp_path: Path) -> None:
    lines = box_text((0.05,) * 3).splitlines()
    (tmp_path / "x.obj").write_text("\n".join(f"{line} 0.1 0.1 0.9" if line.startswith("v ") else line for line in lines) + "\n")
    assert prepare(tmp_path / "x.obj").surfaces[0][0] == pytest.approx((0.1, 0.1, 0.9))


def test_a_texture_is_shown_by_the_simulator_and_kept_by_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(add_object, "embedded_unknown", lambda text: ())
    # One side of a box under the whole picture: both colours on one face.
    picture(tmp_path / "t.png")
    text = box_text((0.05,) * 3).split("f ")[0] + "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
    text += "".join("f " + " ".join(f"{c}/{i + 1}" for i, c in enumerate(face.split())) + "\n" for face in FACES)
    (tmp_path / "t.mtl").write_text("newmtl m\nmap_Kd t.png\n")
    (tmp_path / "x.obj").write_text("mtllib t.mtl\nusemtl m\n" + text)
    add_object.run(Request(file=str(tmp_path / "x.obj"), label="dice"), tmp_path / "lib", test=False)
    record = read_record(tmp_path / "lib", "dice")
    model = build(entry_of(record, tmp_path / "lib" / "dice"))
    assert record.pictures and all(visual.skin is not None for visual in model.visuals)
    (shown,) = contact_sheet_images([model], 96)
    pixels = shown.reshape(-1, 3).astype(int)
    red, blue = ((pixels[:, a] > 2 * pixels[:, b]) & (pixels[:, a] > 60) for a, b in ((0, 2), (2, 0)))
    # The palette's mean colour would be purple: neither.
    assert red.sum() > 300 and blue.sum() > 300
    assert write_urdf(model, tmp_path / "u") == write_urdf(model, tmp_path / "u")
    # Without the picture it is another body.
    from dataclasses import replace

    plain = replace(model, visuals=tuple(replace(visual, skin=None) for visual in model.visuals))
    assert write_urdf(plain, tmp_path / "u") != write_urdf(model, tmp_path / "u")


def test_textures_of_glb_and_of_assets_are_shown(tmp_path: Path) -> None:
    shape = trimesh.creation.box((0.04, 0.04, 0.04))
    uv = np.tile([[0.2, 0.5]], (len(shape.vertices), 1))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.open(picture(tmp_path / "p.png")))
    shape.visual = trimesh.visual.TextureVisuals(uv=uv, material=material)
    shape.export(tmp_path / "x.glb")
    made = prepare(tmp_path / "x.glb")
    assert made.surfaces[0][0] == pytest.approx(np.asarray(RED) / 255, abs=0.03) and made.surfaces[0][1].skin is not None
    picture(tmp_path / "t.png")
    textured(tmp_path)
    body = load_body(str(tmp_path / "x.obj"))
    assert len(body.surfaces) == 2 and all(mesh.skin is not None for _, mesh in body.surfaces) and len(body.hulls) == 1


@pytest.mark.parametrize("kind", ["stl", "glb", "dae", "xml"])
def test_references_of_cases_find_files_of_every_kind(kind: str, tmp_path: Path) -> None:
    shape = trimesh.creation.box((0.02, 0.04, 0.06))
    if kind == "xml":
        (tmp_path / "x.xml").write_text('<mujoco><worldbody><geom type="box" size="0.01 0.02 0.03"/></worldbody></mujoco>')
    else:
        data = shape.export(file_type=kind)
        (tmp_path / f"x.{kind}").write_bytes(data if isinstance(data, bytes) else data.encode())
    asset = find_asset(tmp_path, "assets/x.urdf")
    assert asset is not None and asset.path.endswith(f"x.{kind}")
    extent = np.ptp(np.vstack([mesh.vertices for _, mesh in load_body(asset.path, asset.folder).surfaces]), axis=0)
    # y is up in glTF, and in a DAE file that does not say otherwise.
    assert extent == pytest.approx([0.02, 0.06, 0.04] if kind in ("glb", "dae") else [0.02, 0.04, 0.06], rel=1e-4)


# ------------------------------------------------------------------------------------------------- what may be read


@pytest.mark.parametrize("kind", ["absolute", "..", "file", "package ..", "link", "obj mtllib", "http"])
def test_nothing_outside_of_the_models_folder_is_read(kind: str, tmp_path: Path) -> None:
    box(tmp_path)
    (tmp_path / "secret.mtl").write_text("newmtl m\nKd 1 0 0\n")
    folder = tmp_path / "model"
    folder.mkdir()
    outside = tmp_path / "box.obj"
    path = folder / "x.urdf"
    names = {
        "absolute": str(outside),
        "..": "../box.obj",
        "file": f"file://{outside}",
        "package ..": "package://../box.obj",
        "link": "linked.obj",
        "http": "http://example.org/box.obj",
    }
    if kind == "link":
        (folder / "linked.obj").symlink_to(outside)
    if kind == "obj mtllib":
        path = folder / "x.obj"
        path.write_text(f"mtllib {tmp_path / 'secret.mtl'}\nusemtl m\n" + box_text((0.05,) * 3))
    else:
        path.write_text(link(names[kind]))
    for read in (lambda: prepare(path), lambda: load_body(str(path))):
        with pytest.raises(ArtifactError, match=r"outside of its folder|only files are read") as caught:
            read()
        assert "\n" not in caught.value.message and caught.value.hint
    if kind != "http":
        # The user may name a folder.
        assert prepare(path, places=Places(folder=str(tmp_path))).closed


def test_files_in_the_folder_may_be_named_by_their_whole_path(tmp_path: Path) -> None:
    box(tmp_path)
    (tmp_path / "x.urdf").write_text(link(str(tmp_path / "box.obj")))
    assert prepare(tmp_path / "x.urdf").closed


@pytest.mark.parametrize(
    "name", ["my%20box.obj", "meshes\\my box.obj", "package://my_robot/meshes/my box.obj", "meshes/my%20box.obj"]
)
def test_paths_of_a_urdf_are_found_as_people_write_them(name: str, tmp_path: Path) -> None:
    """The usual layout of ROS: the meshes beside the folder of the URDF, in a package."""
    package = tmp_path / "my_robot"
    (package / "urdf" / "meshes").mkdir(parents=True)
    (package / "meshes").mkdir()
    beside = package / "urdf" / ("meshes" if "meshes" in name else ".") / "my box.obj"
    target = package / "meshes" / "my box.obj" if name.startswith("package") else beside
    target.write_text(box_text((0.05,) * 3))
    path = package / "urdf" / "x.urdf"
    path.write_text(link(name))
    if name.startswith("package"):
        with pytest.raises(ArtifactError, match=r"my box\.obj is missing") as caught:
            prepare(path)
        assert f"--package my_robot={package}" in caught.value.hint
    assert prepare(path, places=Places(packages=(("my_robot", str(package)),))).closed


def glb(tree: dict[str, object], body: bytes = b"") -> bytes:
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
    if body:
        chunks += struct.pack("<II", len(body), 0x004E4942) + body
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def declared(count: int, nodes: int, size: int = 64) -> dict[str, object]:
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": list(range(nodes))}],
        "nodes": [{"mesh": 0}] * nodes,
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"componentType": 5126, "count": count, "type": "VEC3", "max": [1, 1, 1], "min": [0, 0, 0]}],
        "buffers": [{"byteLength": size}],
    }


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.glb", glb(declared(100_000_000, 1)), "declares 100000000 values"),
        ("x.glb", glb(declared(3, 10_000)), "declares 10000 nodes"),
        ("x.glb", glb({**declared(3, 2), "nodes": [{"children": [1]}, {"mesh": 0, "children": [1]}]}), "hangs in two places"),
        ("x.glb", glb({"meshes": 3, "nodes": [{"mesh": "x"}]}), "cannot be read as GLB"),
        ("x.glb", b"glTF" + b"\xff" * 40, "cannot be read as GLB"),
        ("x.ply", b"ply\nformat ascii 1.0\nelement vertex 100000000\nproperty float x\nend_header\n", "more than it has bytes"),
        ("x.stl", b"\0" * 80 + struct.pack("<I", 2_000_000_000), "declares 2000000000 triangles"),
        ("x.dae", b'<!DOCTYPE a [<!ENTITY b "c">]><COLLADA>&b;</COLLADA>', "declares entities"),
        ("x.dae", b"<COLLADA>" + b"<node/>" * 2000 + b"</COLLADA>", "declares 2000 nodes"),
        ("x.msh", struct.pack("<4i", 100_000_000, 0, 0, 100_000_000), "its length is not what its head says"),
        ("x.msh", b"$MeshFormat\n4.1 0 8\n", "as STL or OBJ"),
        ("x.xml", b"<mujoco><worldbody/></mujoco>", "has no geom"),
        ("x.xml", b"<robot/>", "is no MJCF file"),
        ("x.xml", b"<mujoco><worldbody><geom type='mesh' mesh='no'/></worldbody></mujoco>", "MuJoCo cannot compile it"),
    ],
)
def test_what_a_file_declares_is_checked_before_it_is_read(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArtifactError) as caught:
        prepare(tmp_path / name)
    assert message in f"{caught.value.message} {caught.value.hint}" and "\n" not in caught.value.message


def test_a_pipe_is_no_mesh(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.obj")
    with pytest.raises(ArtifactError, match="is no regular file"):
        prepare(tmp_path / "x.obj")
    os.mkfifo(tmp_path / "t.png")
    assert any(
        "is not there" in note
        for note in prepare(textured(tmp_path / "m", "map_Kd ../t.png"), places=Places(str(tmp_path))).notes
    )


# ------------------------------------------------------------------------------------------------------ hollow shapes


def cup(path: Path, closed: bool = True) -> trimesh.Trimesh:
    """A cup of 72 mm with walls of 4 mm."""
    profile = [[0, 0], [0.036, 0], [0.036, 0.07], [0.032, 0.07], [0.032, 0.004], [0, 0.004]]
    shape = trimesh.creation.revolve(np.array(profile), sections=24)
    shape.export(path)
    return shape


def test_collision_shapes_that_fill_a_hollow_are_found(tmp_path: Path) -> None:
    shape = cup(tmp_path / "cup.obj")
    from srcli.objects.mesh import Mesh

    mesh = Mesh(np.asarray(shape.vertices), np.asarray(shape.faces, dtype=np.int32))
    inside = 1 - shape.volume / shape.convex_hull.volume
    assert empty_share(mesh, [np.asarray(shape.vertices)]) == pytest.approx(inside, abs=0.05)
    ball = trimesh.creation.icosphere(radius=0.03)
    solid = Mesh(np.asarray(ball.vertices), np.asarray(ball.faces, dtype=np.int32))
    assert empty_share(solid, [np.asarray(ball.vertices)]) < 0.02
    # Turned inside out, or with a hole, it is the same shape.
    assert empty_share(Mesh(solid.vertices, solid.faces[::-1, ::-1][:-2]), [solid.vertices]) < 0.05


def test_a_filled_cup_is_cut_anew_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = cup(tmp_path / "cup.obj")
    shape.convex_hull.export(tmp_path / "hull.obj")
    collision = '<collision><geometry><mesh filename="hull.obj"/></geometry></collision>'
    (tmp_path / "x.urdf").write_text(link("cup.obj", collision))
    # The coarse settings at once: this tests what is done with the pieces, not how good they are.
    monkeypatch.setattr(decompose, "_SETTINGS", decompose._SETTINGS[::-1])
    lines: list[str] = []
    made = prepare(tmp_path / "x.urdf", progress=lines.append)
    assert made.pieces.startswith("coacd") and len(made.hulls) > 3 and "convex pieces" in lines[0]
    assert any("1 collision shapes fill" in note and "cut anew" in note for note in made.notes)
    kept = prepare(tmp_path / "x.urdf", pieces="file")
    assert kept.pieces == "from the file (1)" and len(kept.hulls) == 1


def test_a_decomposition_that_takes_too_long_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cup(tmp_path / "cup.obj")
    monkeypatch.setattr(decompose, "_PROGRAM", "import time; time.sleep(60)")
    made = prepare(tmp_path / "cup.obj", seconds=0.3)
    assert made.pieces == "one convex hull (coacd failed)" and len(made.hulls) == 1
    assert any("took more than 0.3 s; tried again, coarser" in note for note in made.notes)
    assert any("took more than 0.15 s" in note for note in made.notes) and any("--seconds" in note for note in made.notes)


def test_what_needs_no_pieces_is_refused_before_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cup(tmp_path / "cup.obj")
    monkeypatch.setattr(decompose, "_try", lambda *_: pytest.fail("pieces were made"))
    for numbers in ({"mass": 5.0}, {"density": 90_000.0}):
        with pytest.raises(ArtifactError, match="is not allowed: above 0 and up to 2 kg"):
            prepare(tmp_path / "cup.obj", **numbers)  # type: ignore[arg-type]


def test_surfaces_are_reduced_before_they_are_cut() -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.04)
    from srcli.objects.mesh import Mesh

    coarse = decompose.reduced(Mesh(np.asarray(ball.vertices), np.asarray(ball.faces, dtype=np.int32)), 3000)
    assert 500 < len(coarse.faces) <= 3000 and np.ptp(coarse.vertices, axis=0) == pytest.approx([0.08] * 3, rel=0.05)


def test_flat_collision_shapes_of_a_urdf_are_told(tmp_path: Path) -> None:
    box(tmp_path)
    (tmp_path / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 2 4 3\n")
    both = [f'<collision><geometry><mesh filename="{name}"/></geometry></collision>' for name in ("flat.obj", "box.obj")]
    (tmp_path / "x.urdf").write_text(link("box.obj", "".join(both)))
    made = prepare(tmp_path / "x.urdf")
    assert made.pieces == "from the file (1)" and made.notes == ("1 of 2 collision shapes are flat and left out",)
    (tmp_path / "x.urdf").write_text(link("box.obj", both[0]))
    made = prepare(tmp_path / "x.urdf")
    assert made.pieces == "one convex hull" and "the shape that is seen stands for them" in made.notes[0]


def test_msh_and_dae_are_read(tmp_path: Path) -> None:
    shape = trimesh.creation.box((0.02, 0.04, 0.06))
    vertices, faces = np.asarray(shape.vertices, dtype="<f4"), np.asarray(shape.faces, dtype="<i4")
    (tmp_path / "x.msh").write_bytes(struct.pack("<4i", len(vertices), 0, 0, len(faces)) + vertices.tobytes() + faces.tobytes())
    made = prepare(tmp_path / "x.msh")
    assert made.closed and made.extent == pytest.approx([0.02, 0.04, 0.06])
    shape.apply_scale(100).visual.face_colors = [20, 60, 220, 255]
    text = bytes(shape.export(file_type="dae")).decode()
    for axis, extent in (("Z_UP", (0.02, 0.04, 0.06)), ("Y_UP", (0.02, 0.06, 0.04))):
        asset = f'<asset><unit name="centimetre" meter="0.01"/><up_axis>{axis}</up_axis></asset>'
        stated = re.sub(r"<asset>.*</asset>", asset, text, flags=re.DOTALL)
        (tmp_path / "x.dae").write_text(stated)
        assert prepare(tmp_path / "x.dae").extent == pytest.approx(extent, rel=1e-4)


def test_no_mesh_of_the_wild_ends_in_anything_but_an_error_of_ours(tmp_path: Path) -> None:
    """Pieces of good files in bad order, cut anywhere."""
    picture(tmp_path / "t.png")
    obj = textured(tmp_path).read_bytes()
    shape = trimesh.creation.box((0.02, 0.04, 0.06))
    good = {
        "obj": obj,
        "stl": shape.export(file_type="stl"),
        "ply": shape.export(file_type="ply"),
        "glb": shape.export(file_type="glb"),
        "urdf": link("x.obj").encode(),
        "xml": MJCF.format(texture="t.png").encode(),
    }
    rng = np.random.default_rng(4)
    for kind, data in good.items():
        for number in range(12):
            cut = bytearray(data[: int(rng.integers(1, len(data)))] if number % 2 else data)
            for place in rng.integers(0, len(cut), 6):
                cut[place] = int(rng.integers(256))
            path = tmp_path / f"w.{kind}"
            path.write_bytes(bytes(cut))
            try:
                prepare(path, pieces="hull")
            except SrcliError as error:
                assert "\n" not in error.message
