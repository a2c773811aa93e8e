"""``srcli objects add``, ``import`` and ``remove`` on the command line."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.errors import ArtifactError
from srcli.objects.catalogue import catalogue
from srcli.objects.library import read_record, stored_names
from srcli.stages import add_object
from srcli.stages.add_object import run, run_import
from srcli.stages.object_requests import Request, read_manifest

runner = CliRunner()
CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
FACES = ["1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"]


def box(path: Path, size: float = 0.05) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"v {x} {y} {z}" for x, y, z in (CORNERS * size).tolist()]
    path.write_text("\n".join([*lines, *(f"f {face}" for face in FACES)]) + "\n")
    return path


@pytest.fixture(autouse=True)
def quick_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder's vocabulary without loading the encoder."""
    monkeypatch.setattr(add_object, "embedded_unknown", lambda text: tuple(w for w in text.split() if w == "gizmo"))


def printed(kind: str, begin: str) -> str:
    """The example of docs/objects.md that begins with a line."""
    document = (Path(__file__).parents[2] / "docs" / "objects.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{kind}\n({re.escape(begin)}.*?)```", document, flags=re.DOTALL | re.MULTILINE)
    return str(found)


def call(*arguments: object) -> Any:
    return runner.invoke(app, ["objects", *(str(a) for a in arguments)])


def test_add_tells_what_it_made_and_remove_takes_it_away(tmp_path: Path) -> None:
    path, library = box(tmp_path / "thing_3.obj"), tmp_path / "lib"
    words = ("--label", "Grey Gizmo", "--general", "container", "--attribute", "grey", "--function", "hold other things")
    done = call("add", path, *words, "--mass", 0.2, "--no-test", "--library", library, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["name"] == "grey_gizmo" and told["label"] == "grey gizmo" and told["split"] == "user"
    assert told["extent_mm"] == [50.0, 50.0, 50.0] and told["mass_kg"] == 0.2 and told["volume_cm3"] == 125.0
    assert told["unknown_words"] == ["gizmo"] and told["trial"] is None
    record = read_record(library, "grey_gizmo")
    assert record.functions == ("hold other things",) and record.source.file == "thing_3.obj"
    again = call("add", path, *words, "--no-test", "--library", library)
    assert again.exit_code == 3 and "has an object 'grey_gizmo'" in again.stderr and "--force" in again.stderr
    assert call("add", path, *words, "--no-test", "--library", library, "--force").exit_code == 0
    assert call("remove", "grey_gizmo", "--library", library).exit_code == 0
    assert stored_names(library) == ()
    assert call("remove", "grey_gizmo", "--library", library).exit_code == 8


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("no.obj",), 3, "no such file"),
        (("box.obj", "--scale", "10"), 3, "measures 0.5 m at --scale 10"),
        (("box.obj", "--scale", "-1"), 2, "must be a number above 0"),
        (("box.obj", "--name", "banana"), 3, "object of the built-in catalogue"),
        (("box.obj", "--name", "Box 1"), 3, "name 'Box 1' is not allowed"),
        (("box.obj", "--label", "caffè"), 3, "label 'caffè' is not allowed"),
        (("box.obj", "--synonym", "x!"), 3, "is not allowed"),
        (("box.obj", "--mass", "5"), 3, "mass 5 kg is not allowed"),
        (("box.obj", "--friction", "3"), 3, "friction 3.0 is not allowed"),
        (("box.obj", "--like", "banan"), 8, "unknown object 'banan'"),
        (("box.obj", "--split", "mine"), 2, ""),
    ],
)
def test_what_cannot_be_added_leaves_nothing_behind(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    box(tmp_path / "box.obj")
    done = call("add", *arguments, "--no-test", "--library", tmp_path / "lib")
    assert done.exit_code == code, done.output
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "lib").exists() or not list((tmp_path / "lib").iterdir())


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = call("add", box(tmp_path / "a.obj"), "--library", tmp_path / "lib", "--dry-run")
    assert done.exit_code == 0 and "would write" in done.stdout and not (tmp_path / "lib").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("add", "no.obj"), 3, "no such file"),
        (("add", "a.obj", "no.obj"), 3, "no such file"),
        (("add", "a.txt"), 3, "'.txt' files are not read"),
        (("add", "a.obj", "--mass", "-3"), 2, "--mass -3: must be a number above 0"),
        (("add", "a.obj", "--mass", "5"), 3, "mass 5 kg is not allowed"),
        (("add", "a.obj", "--name", "banana"), 3, "object of the built-in catalogue"),
        (("add", "a.obj", "--label", "x" * 300), 2, "the label"),
        (("calibrate", "nofolder"), 3, "no such file or folder"),
        (("calibrate", ".", "--count", "0"), 2, "counted from 1"),
    ],
)
def test_dry_runs_refuse_what_the_run_refuses(
    arguments: tuple[str, ...], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SRCLI_OBJECTS", str(tmp_path / "lib"))
    box(tmp_path / "a.obj")
    (tmp_path / "a.txt").write_text("words")
    done = call(*arguments, "--dry-run")
    assert done.exit_code == code and message in done.stderr, done.output


def test_the_documents_commands_add_list_and_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trimesh

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SRCLI_OBJECTS", str(tmp_path / "lib"))
    monkeypatch.setattr(add_object, "try_object", lambda entry: try_object(entry, 1))  # one drop for ten
    trimesh.creation.cylinder(radius=35.0, height=90.0, sections=24).export("mug.stl")
    told = []
    for line in printed("sh", "srcli objects add mug.stl").splitlines():
        program, *arguments = shlex.split(line)
        catalogue.cache_clear()  # each command is a process of its own
        done = runner.invoke(app, arguments)
        assert program == "srcli" and done.exit_code == 0, done.output
        told.append(done.stdout)
    assert "blue mug" in told[0] and "blue_mug" in told[1] and stored_names(tmp_path / "lib") == ()
    catalogue.cache_clear()


def test_the_documents_manifest_is_imported(tmp_path: Path) -> None:
    import trimesh

    text = printed("yaml", "# graspnet.yaml")
    (tmp_path / "graspnet.yaml").write_text(text, encoding="utf-8")
    for number, identifier in enumerate(("005", "000", "004_sugar_box")):
        box(tmp_path / "models" / identifier / "textured.obj", 0.04 + number / 100)
    (tmp_path / "models" / "extra").mkdir()
    trimesh.creation.box((30.0, 40.0, 50.0)).export(tmp_path / "models" / "extra" / "valve.stl")
    done = run_import(read_manifest(tmp_path / "graspnet.yaml"), tmp_path / "lib")
    assert done.failed == () and len(done.added) == text.count("- {")
    assert set(stored_names(tmp_path / "lib")) == {"own_banana", "cracker_box", "sugar_box", "valve"}


def test_words_of_a_namesake_and_a_false_colour(tmp_path: Path) -> None:
    added = run(Request(file=str(box(tmp_path / "a.obj")), like="005"), tmp_path / "lib", test=False)
    assert added.name == "own_banana" and added.label == "banana"
    assert "fruit" in read_record(tmp_path / "lib", "own_banana").general
    assert any(note.startswith("'yellow' is given as an attribute, but its surface is grey 100%") for note in added.notes)


def test_an_import_adds_all_that_can_be_used_and_goes_on_when_repeated(tmp_path: Path) -> None:
    for number, size in (("000", 0.05), ("005", 0.04), ("007", 50.0)):
        box(tmp_path / "models" / number / "nontextured.obj", size)
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(
        "folder: models\nfile: '{id}/nontextured.obj'\ndefaults: {density: 500, split: user}\nobjects:\n"
        "- {id: '000', label: cracker box, general: [box], mass: 0.4}\n- {id: '005'}\n- {id: '007'}\n"
    )
    library = tmp_path / "lib"
    done = call("import", manifest, "--library", library, "--json")
    assert done.exit_code == 3 and "1 of 3 objects could not be used" in done.stderr and "measures 50 m" in done.stderr
    told = json.loads(done.stdout)
    assert [a["name"] for a in told["added"]] == ["cracker_box", "own_banana"]
    assert told["added"][0]["mass_kg"] == 0.4 and told["added"][1]["mass_kg"] == 0.032
    box(tmp_path / "models" / "007" / "nontextured.obj", 0.05)
    again = run_import(read_manifest(manifest), library)
    assert again.kept == ("cracker_box", "own_banana") and len(again.added) == 1 and not again.failed


def test_ids_of_ycb_hold_the_label(tmp_path: Path) -> None:
    box(tmp_path / "003_cracker_box" / "google_16k" / "textured.obj")
    (tmp_path / "m.yaml").write_text("file: '{id}/google_16k/textured.obj'\nobjects: [{id: 003_cracker_box}]\n")
    (request,) = read_manifest(tmp_path / "m.yaml")
    assert request.label == "cracker box" and request.name == "cracker_box" and Path(request.file).is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("objects: []", "objects"),
        ("objects: [{fle: a.obj}]", "object 1: fle"),
        ("objects: [{label: a}]", "object 1: has neither 'file' nor"),
        ("objects: [{file: a.obj}, {file: b.obj}, {file: c.obj}]", "2 of 3 files are missing"),
        ("objects: [{file: a.obj}, {file: a.obj}]", "the name a occurs twice"),
        ("objects: [{file: a.obj, id: '999'}]", "the id '999' has no namesake"),
        ("objects: [", "not valid YAML"),
        ("objects: " + "[" * 3_000, "more than 64 levels"),
        ("objects: [{file: a.obj}]\nobjects: []", "key 'objects' stands twice"),
        ("objects: [{file: a.obj, scale: " + "9" * 5_000 + "}]", "a number of 5000 characters"),
        ("defaults: {split: none}\nobjects: [{file: a.obj}]", "object 1: split"),
    ],
)
def test_a_wrong_manifest_is_refused_before_anything_is_read(text: str, message: str, tmp_path: Path) -> None:
    box(tmp_path / "a.obj")
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ArtifactError) as caught:
        read_manifest(tmp_path / "m.yaml")
    assert message in caught.value.message and caught.value.hint


def test_drop_grasp_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setattr(add_object, "try_object", lambda entry: try_object(entry, 2))
    added = run(Request(file=str(box(tmp_path / "a.obj", 0.045))), tmp_path / "lib", sheet=tmp_path / "out" / "s.png")
    assert added.trial is not None and added.trial.drops == 2
    assert added.trial.settled == 2 and added.trial.held >= 1
    assert added.trial.held + sum(added.trial.failures.values()) == 2
    with Image.open(tmp_path / "out" / "s.png") as picture:
        colors = picture.convert("RGB").getcolors(1 << 20) or []
    assert picture.size == (720, 256) and len(colors) > 20


try_object = add_object.try_object


def test_a_folder_is_imported_as_it_is(tmp_path: Path) -> None:
    models, library = tmp_path / "models", tmp_path / "lib"
    for name, size in (
        ("knob-1.obj", 0.03),
        ("knob_1.obj", 0.04),
        ("sub/杯.obj", 0.05),
        ("banana.obj", 0.06),
        ("far/mesh.obj", 0.07),
    ):
        box(models / name, size)
    shape = '<visual><geometry><mesh filename="mesh.obj"/></geometry></visual>'
    (models / "far" / "crate.urdf").write_text(f'<robot name="x"><link name="a">{shape}</link></robot>')
    (models / "readme.txt").write_text("no mesh")
    done = call("import", models, "--library", library, "--json")
    assert done.exit_code == 0, done.stderr
    told = {one["name"]: one for one in json.loads(done.stdout)["added"]}
    # Names that read alike are told apart, and the mesh of a URDF is no object of its own.
    assert set(told) == {"knob", "knob_2", "object", "own_banana", "crate"}
    assert [told[name]["extent_mm"][0] for name in ("knob", "knob_2", "object", "own_banana", "crate")] == [30, 40, 50, 60, 70]
    assert any("no letter from a to z" in note for note in told["object"]["notes"])
    again = call("import", models, "--library", library, "--json")
    assert again.exit_code == 0 and len(json.loads(again.stdout)["kept"]) == 5
    # What has the name of another file's object is not taken for it.
    (models / "knob-1.obj").unlink()
    other = call("import", models, "--library", library)
    assert other.exit_code == 3 and "made of knob-1.obj" in other.stderr and "--force" in other.stderr


@pytest.mark.parametrize("what", ["nothing", "no meshes"])
def test_a_folder_without_meshes_is_told(what: str, tmp_path: Path) -> None:
    if what == "no meshes":
        (tmp_path / "x").mkdir()
    done = call("import", tmp_path / "x", "--library", tmp_path / "lib")
    assert done.exit_code == 3 and ("has no mesh files" if what == "no meshes" else "no such file or folder") in done.stderr


def test_several_files_are_added_at_once(tmp_path: Path) -> None:
    library = tmp_path / "lib"
    files = [box(tmp_path / f"{name}.obj", 0.05) for name in ("whisk", "valve")]
    done = call("add", *files, "--general", "gadget", "--no-test", "--library", library, "--json")
    assert done.exit_code == 0 and stored_names(library) == ("valve", "whisk")
    assert read_record(library, "valve").general == ("gadget",)
    twins = [box(tmp_path / f"cup{mark}1.obj") for mark in "-_"]
    alike = call("add", *twins, "--no-test", "--library", library)
    assert alike.exit_code == 3 and "would both be called 'cup'" in alike.stderr and "--name" in alike.stderr
    named = call("add", *files, "--name", "x", "--library", library)
    assert named.exit_code == 2 and "are for one file" in named.stderr
    folder = call("add", tmp_path, "--library", library)
    assert folder.exit_code == 3 and "is a folder" in folder.stderr and "objects import" in folder.stderr


def test_folders_are_named_on_the_command_line(tmp_path: Path) -> None:
    box(tmp_path / "robot" / "meshes" / "part.obj")
    path = tmp_path / "robot" / "urdf" / "x.urdf"
    path.parent.mkdir()
    shape = '<visual><geometry><mesh filename="package://robot/meshes/part.obj"/></geometry></visual>'
    path.write_text(f'<robot name="x"><link name="a">{shape}</link></robot>')
    add = ("add", path, "--no-test", "--library", tmp_path / "lib")
    refused = call(*add)
    assert refused.exit_code == 3 and f"--package robot={tmp_path / 'robot'}" in " ".join(refused.stderr.split())
    assert call(*add, "--package", f"robot={tmp_path / 'robot'}").exit_code == 0
    assert call(*add, "--package", "robot").exit_code == 2
    assert call(*add, "--textures", tmp_path / "no", "--force").exit_code == 2


def test_what_only_cases_name_is_listed_apart(tmp_path: Path) -> None:
    named = [line.split()[0] for line in call("list", "--split", "named").stdout.splitlines()]
    assert "softball" in named and len(named) == 7
    every = [line.split()[0] for line in call("list").stdout.splitlines()]
    assert set(named) < set(every) and len(every) == len(set(every))


def test_a_wide_body_is_told_before_anything_is_grasped(tmp_path: Path) -> None:
    lines = [f"v {x} {y} {z}" for x, y, z in (CORNERS * (0.1, 0.1, 0.03)).tolist()]
    (tmp_path / "puck.obj").write_text("\n".join([*lines, *(f"f {face}" for face in FACES)]) + "\n")
    added = run(Request(file=str(tmp_path / "puck.obj")), tmp_path / "lib", test=False)
    assert any("ways to lie all of it is 100 mm wide or more, the gripper opens 85 mm" in note for note in added.notes)
    narrow = run(Request(file=str(box(tmp_path / "a.obj", 0.05))), tmp_path / "lib", test=False)
    assert not any("gripper" in note for note in narrow.notes)


def test_the_estimate_of_grasps_is_held_against_their_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from srcli.stages import try_object
    from srcli.stages.try_object import Attempt

    for name in ("a", "b", "c"):
        box(tmp_path / "models" / f"{name}.obj", 0.05)
    made = [
        Attempt(True, True, 0.9, "success"),
        Attempt(True, True, 0.7, "slipped"),
        Attempt(True, False, None, "left_the_table"),
    ]
    monkeypatch.setattr(try_object, "attempts", lambda model, tries: iter(made[:tries]))
    done = call("calibrate", tmp_path / "models", "--count", 2, "--tries", 3, "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(b["quality"], b["grasps"], b["expected"], b["held"]) for b in told["bins"]] == [
        ("0.6 to 0.8", 2, 0.7, 0.0),
        ("0.8 to 1.0", 2, 0.9, 1.0),
    ]
    assert told["error"] == pytest.approx(0.4) and told["narrow"] == [4, 0.8, 0.5] and told["wide"] == [0, 0, 0]
    assert len(told["objects"]) == 2 and told["objects"][0]["held"] == 1
    assert call("calibrate", tmp_path / "models", "--count", 0).exit_code == 2
