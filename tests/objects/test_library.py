"""The library that objects of the user go to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesh_files import box

from srcli.errors import ArtifactError, DiskError, SrcliError, UnknownNameError
from srcli.objects import build
from srcli.objects.catalogue import Catalogue, builtin_catalogue
from srcli.objects.importing import Prepared, prepare
from srcli.objects.library import (
    ENTRY,
    MESH,
    VARIABLE,
    Record,
    Source,
    commit_object,
    entry_of,
    library_folder,
    read_library,
    read_record,
    remove_object,
    stage_object,
    stored_names,
)
from srcli.objects.mesh import Mesh
from srcli.objects.variation import in_band, sample_variation
from srcli.params import Params
from srcli.params.loading import override
from srcli.stages.collect import recorded_config


def store(folder: Path, prepared: Prepared, name: str = "crate", **more: Any) -> None:
    fields: dict[str, Any] = {"label": "crate", "split": "user", **more}
    record = Record(
        name=name,
        mass=prepared.mass,
        colors=tuple(rgb for rgb, _ in prepared.surfaces),
        source=Source(file="box.obj", sha256=prepared.sha256, scale=1.0, up="z", pieces=prepared.pieces),
        **fields,
    )
    commit_object(stage_object(folder, record, prepared.surfaces, prepared.hulls), folder / name)


def test_objects_that_may_be_drawn_belong_to_what_demonstrations_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "lib"))
    plain, added = Params(), override(Params(), {"scene.library": "add"})
    before = [recorded_config(params, "pick", 0) for params in (plain, added)]
    store(tmp_path / "lib", prepare(box(tmp_path), mass=0.15))
    after = [recorded_config(params, "pick", 0) for params in (plain, added)]
    assert before[0] == after[0] and before[1] != after[1] and list(after[1]["library"]) == ["crate"]
    store(tmp_path / "lib", prepare(box(tmp_path), mass=0.15), "chest", split=plain.collect.split)
    assert list(recorded_config(plain, "pick", 0)["library"]) == ["chest"]


def test_the_library_gives_back_what_was_added(tmp_path: Path) -> None:
    made = prepare(box(tmp_path), mass=0.15)
    store(tmp_path / "lib", made, attributes=("red",), general=("container",))
    (entry,) = read_library(tmp_path / "lib")
    model = build(entry)
    assert model.mass == 0.15 and model.extent == pytest.approx([0.05, 0.04, 0.06], abs=1e-6)
    assert model.visuals[0].rgba == pytest.approx((0.9, 0.1, 0.05, 1.0), abs=1e-4) and len(model.hulls) == 1
    assert entry.colors == ("red",) and entry.keywords("general") == ("container",)
    assert not [p for p in (tmp_path / "lib").iterdir() if p.name.startswith(".")]


def test_splits_decide_what_is_drawn_and_the_catalogue_stays_itself(tmp_path: Path) -> None:
    made = prepare(box(tmp_path))
    for name in ("seen", "unseen", "user"):
        store(tmp_path / "lib", made, f"my_{name}", split=name, recolor=name == "unseen")
    plain, mine = builtin_catalogue(), builtin_catalogue()
    count = len(mine.names)
    mine.include(read_library(tmp_path / "lib"))
    assert len(mine) == count + 3 and "my_user" in mine and mine["my_user"].split == "user"
    assert mine.seen == (*plain.seen, "my_seen") and mine.unseen == (*plain.unseen, "my_unseen")
    assert "my_user" not in mine.names
    assert [mine[name] for name in plain.names] == [plain[name] for name in plain.names]
    # An instance can be drawn of each, without looking for one for ever.
    for name in ("my_seen", "my_unseen"):
        variation, _ = sample_variation(mine[name], np.random.default_rng(1))
        assert not in_band(mine[name], variation)


def test_a_built_in_name_is_never_replaced(tmp_path: Path) -> None:
    store(tmp_path / "lib", prepare(box(tmp_path)), "banana")
    with pytest.raises(ArtifactError, match="'banana' is an object of the built-in catalogue"):
        builtin_catalogue().include(read_library(tmp_path / "lib"))
    shop = Catalogue([])
    shop.include(read_library(tmp_path / "lib"))
    shop.include(read_library(tmp_path / "lib"))
    assert len(shop) == 1


def test_every_process_finds_the_library_by_its_variable(tmp_path: Path) -> None:
    store(tmp_path / "lib", prepare(box(tmp_path)))
    code = "from srcli.objects import build, catalogue; print(catalogue()['crate'].label, build(catalogue()['crate']).mass)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "SRCLI_OBJECTS": str(tmp_path / "lib")},
        capture_output=True,
        text=True,
        check=True,
    )
    label, mass = done.stdout.split()
    assert label == "crate" and float(mass) == pytest.approx(0.048)


def test_the_folder_of_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRCLI_OBJECTS", str(tmp_path / "a"))
    assert library_folder() == tmp_path / "a" and library_folder(tmp_path / "b") == tmp_path / "b"
    monkeypatch.delenv("SRCLI_OBJECTS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "c"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert library_folder() == tmp_path / "c" / "srcli" / "objects"
    assert read_library(tmp_path / "nothing") == ()


@pytest.mark.parametrize("damage", ["yaml", "field", "mesh", "no mesh", "word", "name"])
def test_a_damaged_object_names_its_file_and_the_way_out(damage: str, tmp_path: Path) -> None:
    library = tmp_path / "lib"
    store(library, prepare(box(tmp_path)))
    entry = library / "crate" / ENTRY
    text = entry.read_text()
    changes = {
        "yaml": "a: [",
        "field": text + "extra: 1\n",
        "word": text.replace("label: crate", "label: Cräte"),
        "name": text.replace("name: crate", "name: x"),
    }
    if damage in changes:
        entry.write_text(changes[damage])
    elif damage == "no mesh":
        (library / "crate" / MESH).unlink()
    else:
        (library / "crate" / MESH).write_bytes(b"PK nothing")
    with pytest.raises(SrcliError) as caught:
        build(entry_of(read_record(library, "crate"), library / "crate"))
    assert "crate" in caught.value.message and caught.value.hint
    remove_object(library, "crate")
    assert stored_names(library) == () and read_library(library) == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("attributes: []", "attributes: [*b]", "names nothing that is complete"),
        ("attributes: []", "attributes: " + "[" * 100 + "]" * 100, "more than 64 levels"),
        ("attributes: []", "attributes: [&a [x, x], " + "*a, " * 100_000 + "]", "more than 200000 values"),
        ("format: 1", "format: " + "1" * 5_000, "a number of 5000 characters"),
        ("format: 1", "format: 1\nformat: 1", "key 'format' stands twice"),
        ("format: 1", "format: 1 #" + "x" * (4 << 20), "is longer than 4 MiB"),
        ("- - 0.9", "- - .nan", "colors.0.0"),
        ("- - 0.9", "- [0, 0, 0]\n- - 0.9", "colors: names 2, the mesh has 1 surfaces"),
    ],
)
def test_an_entry_that_is_not_to_be_trusted_is_refused_in_one_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    library = tmp_path / "lib"
    store(library, prepare(box(tmp_path)))
    entry = library / "crate" / ENTRY
    text = entry.read_text()
    assert old in text
    entry.write_text(text.replace(old, new))
    with pytest.raises(ArtifactError) as caught:
        build(read_library(library)[0])
    assert str(entry) in caught.value.message and message in caught.value.message and "\n" not in caught.value.message
    assert "--force" in caught.value.hint


def test_words_that_look_like_numbers_stay_words(tmp_path: Path) -> None:
    words = ("010", "0o17", "1e5", "null", "on", "yes", "7")
    store(tmp_path / "lib", prepare(box(tmp_path)), label="5e3", synonyms=words)
    record = read_record(tmp_path / "lib", "crate")
    assert record.label == "5e3" and record.synonyms == words


def test_adding_replaces_whole_objects_and_removing_asks_for_a_known_name(tmp_path: Path) -> None:
    library = tmp_path / "lib"
    store(library, prepare(box(tmp_path)))
    store(library, prepare(box(tmp_path), mass=0.3))
    assert read_record(library, "crate").mass == 0.3 and stored_names(library) == ("crate",)
    with pytest.raises(UnknownNameError, match="unknown object of the library 'crete'"):
        remove_object(library, "crete")
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot write the library"):
        store(tmp_path / "file", prepare(box(tmp_path)))


def test_a_record_with_a_mesh_of_several_colours_keeps_their_order(tmp_path: Path) -> None:
    made = prepare(box(tmp_path))
    small = Mesh(made.surfaces[0][1].vertices * 0.5, made.surfaces[0][1].faces)
    two = (made.surfaces[0], ((0.1, 0.2, 0.9), small))
    record = Record(
        name="two",
        label="two",
        mass=0.1,
        colors=tuple(rgb for rgb, _ in two),
        source=Source(file="x", sha256="", scale=1.0, up="z", pieces=""),
    )
    commit_object(stage_object(tmp_path / "lib", record, two, made.hulls), tmp_path / "lib" / "two")
    (entry,) = read_library(tmp_path / "lib")
    assert entry.colors == ("red", "blue") and len(build(entry).visuals) == 2
