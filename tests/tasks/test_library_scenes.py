"""Scenes that the user's own objects are part of; and that nothing else changes what is drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from srcli.config.scene import SceneConfig
from srcli.errors import ConfigError, SrcliError
from srcli.evaluation.suites import suite_episodes
from srcli.language.instructions import vocabulary
from srcli.objects import catalogue
from srcli.objects.catalogue import builtin_catalogue
from srcli.objects.library import read_library
from srcli.seeding import Domain, episode_seed
from srcli.stages.add_object import run
from srcli.stages.object_requests import Request
from srcli.tasks import get_task
from srcli.tasks.draws import pool_of, split_names

DRAWN = {
    ("development", "pick"): "5e248d2d9f576001",
    ("development", "place"): "15a905053de874b2",
    ("development", "pick_place"): "179be206dd0e6e6c",
    ("paper", "pick"): "c92570d869cb226b",
    ("compositional-development", "pick"): "52704c2d8fd38387",
    ("free-development", "pick"): "fbe180456b282bce",
}
"""Digests of what the suites asked for before objects were added that files alone name."""


@pytest.mark.parametrize(("suite", "task"), DRAWN)
def test_suites_draw_what_they_always_drew(suite: str, task: str) -> None:
    lines = []
    for episode in suite_episodes(suite, 0, episodes=1 if suite.startswith("free") else 3, limit=3, task=task, wording="heldout"):
        spec = episode.spec(get_task(task), SceneConfig())
        lines.append([episode.key, spec.instruction, list(spec.objects), list(spec.goal.targets), spec.goal.keyword])
    assert hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:16] == DRAWN[suite, task]


def test_objects_that_files_name_are_no_part_of_the_catalogue() -> None:
    known = builtin_catalogue()
    named = [entry.name for entry in known.named]
    assert named == ["softball", "tennis_ball", "white_ball", "blue_ball", "battery", "red_backpack", "mango"]
    assert known and not set(named) & {*known.names, *known.all_names, *(entry.name for entry in known)}
    assert all(name in known and known[name].split == "named" for name in named)
    # A word of theirs that nothing else has is still unknown.
    assert not {"softball", "tennis", "backpack", "mango", "battery"} & vocabulary()
    assert all("mango" not in known.matching(word, "general") for word in ("fruit", "ball"))


CORNERS = [(x, y, z) for x in (0, 0.05) for y in (0, 0.03) for z in (0, 0.04)]
BOX = "".join(f"v {x} {y} {z}\n" for x, y, z in CORNERS) + "f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[None]:
    """Three objects of the user's library."""
    (tmp_path / "box.obj").write_text(BOX)
    for word in ("whisk", "valve", "dial"):
        request = Request(
            file=str(tmp_path / "box.obj"), name=f"my_{word}", label=word, general=("gadget",), attributes=("grey",)
        )
        run(request, tmp_path / "lib", test=False, words_known=lambda text: ())
    known = catalogue()
    before = dict(known._entries)
    known.include(read_library(tmp_path / "lib"))
    yield
    known._entries.clear()
    known._entries.update(before)
    known.include(())


def test_own_objects_are_targets_and_distractors_where_that_is_asked_for(own: None) -> None:
    mine = {"my_whisk", "my_valve", "my_dial"}
    drawn: dict[str, set[str]] = {}
    aimed: dict[str, set[str]] = {}
    for number in range(150):
        for library in ("none", "add", "only"):
            config = SceneConfig(library=library)  # type: ignore[arg-type]
            spec = get_task("pick").sample(episode_seed(0, Domain.DEVELOPMENT, number), "seen", "train", config)
            assert spec.split == "seen" and len(spec.objects) >= 1
            drawn.setdefault(library, set()).update(spec.objects)
            aimed.setdefault(library, set()).update(spec.objects[slot] for slot in spec.goal.targets)
    assert not drawn["none"] & mine
    assert mine <= drawn["add"] and drawn["add"] - mine and aimed["add"] & mine
    assert drawn["only"] == aimed["only"] == mine
    assert split_names(pool_of("unseen", SceneConfig(library="add")))[-3:] == tuple(
        sorted(mine, key=list(catalogue().all_names).index)
    )


def test_too_few_own_objects_are_told(own: None) -> None:
    config = SceneConfig(library="only")
    with pytest.raises(SrcliError, match="give no scene"):
        get_task("pick").compose((0, 1, 2), "seen", "train", "attribute_noun", config)  # type: ignore[attr-defined]


def test_a_library_without_objects_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="your library has no object of split user"):
        get_task("pick").sample((0, 1, 2), "seen", "train", SceneConfig(library="add"))


def test_scenes_without_the_library_are_recorded_as_before() -> None:
    assert "library" not in SceneConfig().model_dump()
    assert SceneConfig(library="add").model_dump()["library"] == "add"
    assert SceneConfig.model_validate(SceneConfig().model_dump()) == SceneConfig()
