"""``srcli objects add``, ``import`` and ``remove`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.errors import ArtifactError
from srcli.objects.library import read_record, stored_names
from srcli.stages import add_object
from srcli.stages.add_object import Request, read_manifest, run, run_import

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
