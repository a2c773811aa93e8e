"""Models of MuJoCo: what of a file is the object, what it looks like and what is solid, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from mesh_files import MJCF, laid, picture

from srcli.errors import ArtifactError
from srcli.objects.bodies import load_body
from srcli.objects.importing import prepare
from srcli.objects.sources import Places


def test_an_mjcf_body_becomes_an_object(tmp_path: Path) -> None:
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "part.obj").write_text(laid(1.0))
    picture(tmp_path / "t.png")
    (tmp_path / "can.xml").write_text(MJCF.format(texture="t.png"))
    made = prepare(tmp_path / "can.xml")
    assert made.extent == pytest.approx([0.05] * 3, abs=1e-4) and made.closed
    assert made.mass == pytest.approx(0.15) and made.friction == pytest.approx(0.7) and made.pieces == "from the file (2)"
    # Textures lie as in the file.
    reds = sorted(rgb[0] for rgb, _ in made.surfaces)
    assert reds == pytest.approx([20 / 255, 220 / 255], abs=0.03)
    assert made.notes == ("left out, as no part of the object: 1 geom of the world",)
    (tmp_path / "can.xml").write_text(MJCF.format(texture="../textures/other.png"))
    assert any("'../textures/other.png' lies outside" in note for note in prepare(tmp_path / "can.xml").notes)
    (tmp_path / "can.xml").write_text(MJCF.format(texture="t.png").replace("part.obj", "../../part.obj"))
    with pytest.raises(ArtifactError, match="outside of its folder"):
        prepare(tmp_path / "can.xml")


def test_pictures_of_a_cubes_sides_are_not_looked_up(tmp_path: Path) -> None:
    (tmp_path / "model" / "meshes").mkdir(parents=True)
    (tmp_path / "model" / "meshes" / "part.obj").write_text(laid(1.0))
    picture(tmp_path / "secret.png")
    sides = " ".join(f'file{side}="../secret.png"' for side in ("right", "left", "up", "down", "front", "back"))
    text = MJCF.format(texture="t.png").replace('type="2d" file="t.png"', f'type="cube" {sides}')
    assert "fileright" in text
    (tmp_path / "model" / "can.xml").write_text(text)
    made = prepare(tmp_path / "model" / "can.xml")
    assert "the pictures of a cube's six sides are not taken: grey" in made.notes
    colors = np.array([rgb for rgb, _ in made.surfaces])
    assert np.ptp(colors, axis=1).max() < 0.01


SCENE = """<mujocoinclude><asset><texture name="wood" type="2d" file="wood.png"/><mesh name="top" file="top.stl"/>
<material name="wood" texture="wood"/></asset><worldbody><light pos="0 0 3"/><camera name="corner" pos="1 1 1"/>
<geom name="floor" type="plane" size="4 4 0.1" pos="0 0 -0.9"/><geom type="box" size="2 0.1 1" pos="0 1 0"/>
<body name="table" pos="0 0.6 0"><geom type="box" size="0.7 0.4 0.027" pos="0 0 -0.027" mass="30" {top}/>
<body name="leg"><geom type="box" size="0.03 0.03 0.4" pos="0.6 0.3 -0.45" friction="1.9"/></body></body></worldbody>
</mujocoinclude>"""


ROBOT = """<body name="arm"><joint type="hinge" axis="0 0 1"/><geom type="capsule" size="0.06 0.4"/>
<body name="hand" pos="0 0 0.5"><joint type="slide" axis="1 0 0"/><geom type="box" size="0.02 0.02 0.05"/></body></body>
<body name="target" mocap="true"><geom type="sphere" size="0.01" contype="0" conaffinity="0"/></body>"""


STICK = """<mujocoinclude><geom type="cylinder" size="0.01 0.09" rgba="0.8 0.1 0.1 1" mass="0.07"/>
<body name="knob" pos="0 0 0.1"><geom type="sphere" size="0.02" rgba="0.8 0.1 0.1 1" mass="0.03"/></body></mujocoinclude>"""


def task_scene(folder: Path, body: str, top: str = "") -> Path:
    """A model as manipulation suites keep them: the scene and the object in files of their own, included by that of the task."""
    for name in ("scene", "parts", "tasks"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "scene" / "room.xml").write_text(SCENE.format(top=top))
    (folder / "parts" / "stick.xml").write_text(STICK)
    path = folder / "tasks" / "stick.xml"
    path.write_text(f'<mujoco><include file="../scene/room.xml"/><worldbody>{body}</worldbody></mujoco>')
    return path


@pytest.mark.parametrize("joint", ["<freejoint/>", '<joint type="free" damping="0.01"/>'])
def test_what_moves_freely_in_a_scene_of_mjcf_is_the_object(joint: str, tmp_path: Path) -> None:
    stick = f'<body name="stick" pos="0 0.6 0.2"><include file="../parts/stick.xml"/>{joint}</body>'
    # Files that only the scenery names are not there.
    path = task_scene(tmp_path, ROBOT + stick, 'material="wood"')
    made = prepare(path, places=Places(folder=str(tmp_path)))
    assert made.extent == pytest.approx([0.04, 0.04, 0.21], abs=2e-3) and made.mass == pytest.approx(0.1)
    assert made.pieces == "from the file (2)" and made.friction is None
    told = "the body 'table', the body 'arm', the body 'target', 2 geoms of the world"
    assert f"left out, as no part of the object: {told}" in made.notes
    ball = f'<body>{joint}<geom size="0.03"/></body>'
    path.write_text(f"<mujoco><worldbody>{ball}{ball}</worldbody></mujoco>")
    with pytest.raises(ArtifactError, match="has 2 joints; an object to be grasped is one rigid body"):
        prepare(path)


@pytest.mark.parametrize("outer", ["{}", "<frame pos='0 0.3 0'>{}</frame>"])
def test_still_bodies_too_large_for_an_object_are_scenery(outer: str, tmp_path: Path) -> None:
    stick = '<body pos="0 0.6 0.2"><include file="../parts/stick.xml"/></body>'
    made = prepare(task_scene(tmp_path, outer.format(stick)), places=Places(folder=str(tmp_path)))
    assert made.extent == pytest.approx([0.04, 0.04, 0.21], abs=2e-3) and made.mass == pytest.approx(0.1)
    assert made.friction is None and "left out, as no part of the object: the body 'table', 2 geoms of the world" in made.notes
    # What is no scene stays whole.
    half = '<body name="{0}" pos="0 0 {1}"><geom type="box" size="0.02 0.02 0.05"/></body>'
    (tmp_path / "x.xml").write_text(f"<mujoco><worldbody>{half.format('a', 0)}{half.format('b', 0.1)}</worldbody></mujoco>")
    made = prepare(tmp_path / "x.xml")
    assert made.extent == pytest.approx([0.04, 0.04, 0.2]) and not any("left out" in note for note in made.notes)
    (tmp_path / "x.xml").write_text(f"<mujoco><worldbody>{half.format('a', 0)}{half.format('b', 1)}</worldbody></mujoco>")
    with pytest.raises(ArtifactError, match=r"holds 2 bodies apart from each other \('a', 'b'\)") as caught:
        prepare(tmp_path / "x.xml")
    assert "<freejoint/>" in caught.value.hint
    (tmp_path / "x.xml").write_text('<mujoco><worldbody><body><geom type="box" size="0.7 0.4 0.02"/></body></worldbody></mujoco>')
    with pytest.raises(ArtifactError, match=r"measures 1\.4 m"):
        prepare(tmp_path / "x.xml")


def test_mujoco_writes_nothing_beside_the_users_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.xml").write_text('<mujoco><worldbody><body><geom type="box" size="nan 1 1"/></body></worldbody></mujoco>')
    with pytest.raises(ArtifactError, match="MuJoCo cannot compile it"):
        prepare(Path("x.xml"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.xml"]


FLAT = {
    "box": "0.02 0.02 1e-40",
    "capsule": "1e-16 0.02",
    "thin box": "0.02 0.02 1e-9",
    "cylinder": "0.02 1e-320",
    "ellipsoid": "1e-300 0.02 0.02",
}


# A warning of numpy would reach the user's terminal beside the error.
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", FLAT)
def test_flat_geoms_of_mjcf_are_left_out_or_refused(kind: str, tmp_path: Path) -> None:
    flat = f'<geom type="{kind.split()[-1]}" size="{FLAT[kind]}"/>'
    solid = '<geom type="box" size="0.01 0.02 0.03"/>'
    path = tmp_path / "x.xml"
    path.write_text(f"<mujoco><worldbody><body>{flat}{solid}</body></worldbody></mujoco>")
    for made in (prepare(path), load_body(str(path))):
        assert len(made.hulls) == 1 and np.ptp(made.hulls[0], axis=0) == pytest.approx([0.02, 0.04, 0.06])
        assert re.match(r"1 of 2 (geoms|collision shapes) are flat and left out$", made.notes[0])
    path.write_text(f"<mujoco><worldbody><body>{flat}</body></worldbody></mujoco>")
    for read in (lambda: prepare(path, mass=0.1), lambda: load_body(str(path))):
        with pytest.raises(ArtifactError, match="flat"):
            read()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("numbers", ['size="inf 1 1"', 'size="1e300 1 1"', 'size="0.02 0.02 0.02" pos="0 1e300 0"'])
def test_geoms_of_mjcf_beyond_any_unit_are_refused(numbers: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(f'<mujoco><worldbody><body><geom type="box" {numbers}/></body></worldbody></mujoco>')
    with pytest.raises(ArtifactError, match=r"a geom (measures|lies) more than 1e\+09 m"):
        prepare(tmp_path / "x.xml")


def test_an_mjcf_model_with_joints_is_refused(tmp_path: Path) -> None:
    geom = '<geom type="box" size="0.02 0.02 0.02"/>'
    text = f"<mujoco><worldbody><body>{geom}<body><joint type='hinge' axis='0 0 1'/>{geom}</body></body></worldbody></mujoco>"
    (tmp_path / "x.xml").write_text(text)
    with pytest.raises(ArtifactError, match="has 1 joints; an object to be grasped is one rigid body"):
        prepare(tmp_path / "x.xml")


@pytest.mark.parametrize("kind", ["box", "sphere", "capsule", "ellipsoid", "cylinder"])
def test_shapes_of_mjcf_have_their_size(kind: str, tmp_path: Path) -> None:
    size = {"box": "0.02 0.02 0.03", "sphere": "0.02", "ellipsoid": "0.02 0.02 0.03"}.get(kind, "0.02 0.03")
    high = {"sphere": 0.04, "capsule": 0.1}.get(kind, 0.06)
    fragment = f'<mujocoinclude><body><geom type="{kind}" size="{size}" rgba="0.8 0.1 0.1 1"/></body></mujocoinclude>'
    (tmp_path / "part.xml").write_text(fragment)
    (tmp_path / "x.xml").write_text('<mujoco><worldbody><include file="part.xml"/></worldbody></mujoco>')
    for name in ("part.xml", "x.xml"):
        made = prepare(tmp_path / name)
        assert made.extent == pytest.approx([0.04, 0.04, high], rel=0.06) and made.surfaces[0][0] == (0.8, 0.1, 0.1)
