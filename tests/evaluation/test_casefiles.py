"""Benchmark case files: what real ones look like, and every kind of damage named with file and line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srcli.config.scene import SceneConfig
from srcli.config.sim import SimConfig
from srcli.errors import ArtifactError, ConfigError, UnknownNameError
from srcli.evaluation.casefiles import namesake, read_cases_folder
from srcli.evaluation.casewords import quaternion, referred
from srcli.evaluation.plan import planned_episodes
from srcli.evaluation.setup import set_up
from srcli.evaluation.suites import file_episodes, find_episode, suite_episodes
from srcli.evaluation.yamlcases import read_file_cases
from srcli.params import Params
from srcli.sim import World
from srcli.tasks import get_task
from srcli.tasks.base import Settles
from srcli.types import SceneTruth

PICK = "grasp a round thing\n1 2\n"
PLACE = "put it near the appel\napple\nnear\n"


def objects(ids: list[str], y: float = 0.0, root: str = "assets/simplified_objects") -> str:
    return "".join(f"{root}/{name}.urdf {0.4 + 0.01 * i:.2f} {y} 0.2 0.1 0.2 {0.1 * i:.1f}\n" for i, name in enumerate(ids))


SEEN = ["015", "017", "021", "027", "074", "061", "047", "034", "078", "018", "043", "055", "009", "083", "008"]
ZONE = ["086", "032", "079", "013", "012", "006", "082", "015"]


def write(folder: Path, name: str, text: str, newline: str = "\n") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.replace("\n", newline).encode())
    return path


def test_the_three_tasks_are_told_apart_and_split_and_name_come_from_the_path(tmp_path: Path) -> None:
    write(tmp_path, "a/unseen/case00.txt", PICK + objects(SEEN), "\r\n")
    write(tmp_path, "b/seen/case00.txt", PLACE + objects(ZONE).replace("\n", " \n") + "\n\n")
    write(tmp_path, "c/case00.txt", PICK.replace("1 2", "1 2 ") + objects(SEEN, -0.168) + PLACE + objects(ZONE, 0.168) + "\n")
    folder = read_cases_folder(tmp_path)
    assert [(c.task, c.case.name, c.case.split) for c in folder.cases] == [
        ("pick", "a/unseen/case00", "unseen"),
        ("place", "b/seen/case00", "seen"),
        ("pick_place", "c/case00", "seen"),
    ]
    pick, place, both = (c.case for c in folder.cases)
    assert pick.objects[:3] == ("pear", "plum", "racquetball") and pick.targets == (1, 2)
    assert pick.instruction == "grasp a round thing" and pick.keyword == "round"
    assert place.instruction == "put it near the appel" and (place.relation, place.reference) == ("near", "apple")
    assert place.references == (4,) and len(place.place_objects) == 8 and place.objects == ()
    assert both.instruction == "grasp a round thing, put it near the appel"
    assert both.targets == (1, 2) and both.references == (19,)
    assert both.drops is not None and both.drops.shape == (23, 7)
    # Both halves lie in the middle of their zone's frame.
    assert np.allclose(both.drops[:, 1], 0.0)


def test_euler_angles_become_the_simulators_quaternion() -> None:
    pybullet = pytest.importorskip("pybullet")
    for angles in ((0.3, -0.8, 2.5), (5.2, 4.3, 6.0), (1.57, 0.0, 3.0)):
        ours, theirs = np.array(quaternion(*angles)), np.array(pybullet.getQuaternionFromEuler(angles))
        assert min(np.abs(ours - theirs).max(), np.abs(ours + theirs).max()) < 1e-9 and ours[3] >= 0


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("assets/simplified_objects/011.urdf", "strawberry"),
        ("simplified_objects/011/textured.obj", "strawberry"),
        ("assets/unseen_objects/suger_1/model.urdf", "suger_1"),
        ("unseen_objects\\Yellow-Bowl_simplified.urdf", "yellow_bowl"),
        ("assets/simplified_objects/065.urdf", None),
        ("orange_juice.urdf", None),
    ],
)
def test_references_resolve_to_namesakes(reference: str, name: str | None) -> None:
    assert namesake(reference) == name


def test_reference_labels_by_the_catalogues_words() -> None:
    assert referred("toy", ("printed_anvil", "apple", "giraffe")) == (0, 2)
    assert referred("suger", ("apple", "suger_1", "suger_2")) == (1, 2)
    assert referred("tomatoe soup can", ("apple", "tomato_soup_can")) == (1,)
    assert referred("cup", ("apple", "lemon")) == ()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the file is empty"),
        ("\n \n", 1, "the file is empty"),
        ("give me the apple\n" + objects(SEEN), 2, "no line with the target numbers"),
        (objects(SEEN), 1, "the sentence is missing"),
        ("0 1\n" + objects(SEEN), 1, "the sentence is missing"),
        ("give me the pear\n0\n", 2, "no object line"),
        ("give me the pear\n15\n" + objects(SEEN), 2, "target 15 is out of range: the objects are numbered 0 to 14"),
        ("give me the pear\n-1\n" + objects(SEEN), 2, "target -1 is out of range"),
        ("give me the pear\n0 x1\n" + objects(SEEN), 2, "target 'x1' is not a whole number"),
        ("give me the pear\n0.5\n" + objects(SEEN), 2, "target '0.5' is not a whole number"),
        ("give me the pear\npear\n" + objects(SEEN), 2, "no relation follows"),
        (PICK + objects(SEEN).replace("0.41 0.0", "0.41", 1), 4, "7 fields"),
        (PICK + objects(SEEN).replace("0.41 0.0", "nan 0.0", 1), 4, "not finite"),
        (PICK + objects(SEEN).replace("0.41 0.0", "0.41 inf", 1), 4, "not finite"),
        (PICK + objects(SEEN).replace("0.41 0.0", "O.41 0.0", 1), 4, "'O.41' is not a number"),
        (PICK + objects(SEEN).replace("assets/simplified_objects/017.urdf ", "", 1), 4, "is no object line"),
        (PICK + objects(SEEN).replace("assets/simplified_objects/015.urdf ", "", 1), 3, "is no object line"),
        (PLACE.replace("\nnear\n", "\nnaer\n") + objects(ZONE), 3, "unknown relation 'naer'"),
        (PLACE + objects(ZONE[:7]), 10, "has 8 objects, here are 7"),
        (PLACE + objects([*ZONE, "012"]), 12, "has 8 objects, here are 9"),
        (PLACE.replace("\napple\n", "\ncup\n") + objects(ZONE), 2, "is called 'cup'"),
        (PICK + objects(SEEN) + PLACE, 20, "the place half has no objects"),
        (PICK + objects(SEEN) + PLACE + objects(ZONE[:6]), 26, "has 8 objects, here are 6"),
        (PICK + objects(SEEN[:14]) + PLACE + objects(ZONE), 16, "has 15 objects, here are 14"),
        (PICK + objects(SEEN) + PLACE.replace("\nnear\n", "\n") + objects(ZONE), 19, "needs sentence, reference and relation"),
        (PICK + objects(SEEN) + PLACE.replace("\nnear\n", "\nover\n") + objects(ZONE), 20, "unknown relation 'over'"),
    ],
)
def test_damage_is_named_with_file_and_line(text: str, line: int, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, "case00.txt", text)
    with pytest.raises(ArtifactError) as caught:
        read_cases_folder(tmp_path)
    assert caught.value.message.startswith(f"{path}:{line}: "), caught.value.message
    assert message in caught.value.message and "\n" not in caught.value.message


def test_bytes_that_are_no_text_and_folders_without_cases(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no case files"):
        read_cases_folder(tmp_path)
    with pytest.raises(ArtifactError, match="no such folder"):
        read_cases_folder(tmp_path / "absent")
    (tmp_path / "case00.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ArtifactError, match=r"case00\.txt:1: is not a text file"):
        read_cases_folder(tmp_path)


def test_all_unknown_references_are_listed_at_once(tmp_path: Path) -> None:
    one = write(tmp_path, "case00.txt", PICK + objects(["015", "065", "021"]))
    two = write(tmp_path, "case01.txt", PICK + objects(["065", "017", "021"]) + "assets/mine/teapot.urdf 0.5 0 0.2 0 0 0\n")
    with pytest.raises(UnknownNameError) as caught:
        read_cases_folder(tmp_path)
    message = caught.value.message
    assert message.startswith("2 object reference(s)")
    assert f"065.urdf ({one}:4 and 1 more)" in message and f"teapot.urdf ({two}:6)" in message


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("objects: [cup, teapod]", "unknown object 'teapod'"),
        ("objects: [cup, apple]\n    place_objects: [cup]\n    relation: nearby", "unknown relation 'nearby'"),
    ],
)
def test_an_unknown_name_of_our_own_format_is_said_with_its_file_and_case(tmp_path: Path, line: str, what: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"cases:\n  - name: tea\n    instruction: give me tea\n    targets: [0]\n    {line}\n")
    with pytest.raises(UnknownNameError) as caught:
        read_cases_folder(tmp_path)
    assert caught.value.message == f"{path}: case 'tea': {what}" and "known:" in caught.value.hint


def test_repeats_keep_poses_and_sentence_and_can_be_found_by_name(tmp_path: Path) -> None:
    write(tmp_path, "pick/seen/case00.txt", PICK + objects(SEEN))
    write(tmp_path, "place/seen/case00.txt", PLACE + objects(ZONE))
    cases = read_cases_folder(tmp_path).cases
    episodes = file_episodes(cases, 3, ("seen", "unseen"), repeats=4)
    assert len(episodes) == 8 == len({e.key for e in episodes}) and len({e.cluster for e in episodes}) == 2
    picks = [e.spec(get_task("pick"), SceneConfig()) for e in episodes if e.task == "pick"]
    assert all((spec.drops == picks[0].drops).all() for spec in picks)
    assert picks[0].goal.targets == (1, 2) and picks[0].objects[0] == "pear"
    again = find_episode("pick/seen/case00", 3, 3, cases)
    assert again.key == episodes[2].key
    assert file_episodes(cases[1:], 3, ("seen",), repeats=4)[0].key in {e.key for e in episodes}
    place = next(e for e in episodes if e.task == "place").spec(get_task("place"), SceneConfig())
    assert place.held == 8 and place.drops.shape == (9, 7) and place.goal.references == (4,)


def test_an_edited_file_is_another_episode(tmp_path: Path) -> None:
    path = write(tmp_path, "case00.txt", PICK + objects(SEEN))
    before = file_episodes(read_cases_folder(tmp_path).cases, 0, ("seen",), 1)[0]
    path.write_text(PICK.replace("1 2", "1") + objects(SEEN))
    after = file_episodes(read_cases_folder(tmp_path).cases, 0, ("seen",), 1)[0]
    assert before.seed == after.seed and before.key != after.key


@pytest.mark.parametrize("edit", [{"held": "025_mug"}, {"references": (0,)}, {"keyword": "fruit"}, {"keyword_kind": "category"}])
def test_whatever_a_file_says_is_played_anew_when_it_is_edited(tmp_path: Path, edit: dict[str, Any]) -> None:
    write(tmp_path, "case00.txt", PICK + objects(SEEN))
    folder = read_cases_folder(tmp_path)
    (item,) = folder.cases
    other = replace(folder, cases=(replace(item, case=replace(item.case, **edit)),))
    keys = [[e.key for e in planned_episodes(Params(), "", f)] for f in (folder, folder, other)]
    assert keys[0] == keys[1] and not set(keys[0]) & set(keys[2])


# ----------------------------------------------------------------------------------------------------- our own format

DOCS = Path(__file__).parents[2] / "docs" / "cases.md"


def _example() -> str:
    found = re.search(r"^## Cases of your own\n.*?```yaml\n(.*?)```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_example_of_the_documentation_is_set_up(tmp_path: Path) -> None:
    write(tmp_path, "mine.yaml", _example())
    write(tmp_path, "b/unseen/case00.txt", PICK + objects(SEEN))
    folder = read_cases_folder(tmp_path)
    tasks = {c.case.name: c.task for c in folder.cases}
    names = ("second-cup", "left-bottle", "cup-by-the-box", "blue-bottle", "box-by-the-bowl")
    assert tasks == {"b/unseen/case00": "pick", **{f"mine/{n}": "place" if n == "box-by-the-bowl" else "pick" for n in names}}
    assert {c.case.split for c in folder.cases if c.case.name.startswith("mine")} == {"unseen"}
    assert find_episode("left-bottle", 1, 0, folder.cases).task == "pick"
    world = World(SimConfig(), robot=False)
    try:
        for episode in file_episodes(folder.cases, 0, ("unseen",), repeats=1):
            assert episode.case is not None
            name, task = episode.case.name.removeprefix("mine/"), get_task(episode.task)
            if name.startswith("b/"):
                continue
            spec = episode.spec(task, SceneConfig())
            built = set_up(world, task, spec)
            meant = {built.objects[slot] for slot in built.goal.targets}
            if name == "second-cup":
                assert built.goal.targets == (1,) and np.array_equal(built.drops[:, :2], spec.drops[:, :2]) and built.fixed
            elif name == "left-bottle":
                y = world.truth().poses[:, 1]
                bottles = [slot for slot, thing in enumerate(built.objects) if thing != "red_marker"]
                assert built.goal.targets == (max(bottles, key=lambda slot: float(y[slot])),)
            elif name == "cup-by-the-box":
                assert meant == {"yellow_cup"} and [built.objects[slot] for slot in built.goal.references] == ["pink_tea_box"]
            elif name == "blue-bottle":
                assert meant == {"blue_moon"}
            else:
                assert [built.objects[slot] for slot in built.goal.references] == ["yellow_bowl"]
    finally:
        world.close()


COMPOSED = """
cases:
  - name: a
    instruction: give me the leftmost bottle
    {rest}
    objects: [blue_moon, shampoo, {other}]
"""
ATTRIBUTE = "kind: attribute_noun\n    keyword: bottle\n    modifier: white"
PHRASE = "kind: superlative\n    keyword: bottle\n    modifier: leftmost"


@pytest.mark.parametrize(
    ("rest", "other", "message"),
    [
        ("targets: [3]", "red_marker", r"case 'a': targets: '3' is none of its 3 objects"),
        ("targets: [apple]", "red_marker", r"'apple' is none of its 3 objects"),
        ("targets: [-1]", "red_marker", r"'-1' is none of its 3 objects"),
        ("targets: []", "red_marker", r"cases\.0\.targets"),
        ("targets: [0]\n    drops: [[0, 0, 0, 0, 0, 0]]", "red_marker", r"drops need 3 lines of six finite numbers"),
        ("targets: [0]\n    drops: [[0, 0], [0, 0], [0, 0]]", "red_marker", r"drops need 3 lines"),
        (PHRASE, "repellent", r"'repellent' could be called 'bottle', too"),
        (PHRASE.replace("leftmost", "tallest"), "red_marker", r"unknown superlative 'tallest'"),
        (PHRASE.replace("bottle", "cup"), "red_marker", r"needs 2 object\(s\) called 'cup'"),
        (PHRASE.replace("\n    modifier: leftmost", ""), "red_marker", r"unknown superlative ''"),
        (
            PHRASE.replace("superlative", "reference").replace("leftmost", "next to"),
            "red_marker",
            r"needs 1 object\(s\) called ''",
        ),
        (PHRASE.replace("superlative", "clause"), "red_marker", r"cases\.0\.kind"),
        ("split: unseen", "red_marker", r"has no keyword"),
        (ATTRIBUTE, "magic_clean", r"'blue_moon' may or may not be called 'white'"),
        (ATTRIBUTE.replace("white", "orange"), "red_marker", r"no object called 'bottle' is 'orange'"),
        (
            PHRASE.replace("leftmost", "largest").replace("bottle", "cup"),
            "yellow_cup, yellow_cup",
            r"none is clearly the largest",
        ),
    ],
)
def test_wrong_cases_are_refused_in_one_line(rest: str, other: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        read_file_cases(COMPOSED.format(rest=rest, other=other), "x.yaml")
    assert "x.yaml" in caught.value.message and "\n" not in caught.value.message


def test_targets_and_references_are_named_by_position_or_name() -> None:
    text = COMPOSED.format(rest="targets: [shampoo, 0]", other="shampoo")
    (found,) = read_file_cases(text, "x.yaml")
    # A name means all objects of that name; the keyword of the record is read from the sentence.
    assert (found.task, found.case.targets, found.case.keyword, found.case.split) == ("pick", (0, 1, 2), "bottle", "unseen")
    both = """
cases:
  - {name: b, instruction: give me the pear, objects: [pear, lion], targets: [pear], relation: near,
     references: [1], place_objects: [tape, cup]}
"""
    (case,) = read_file_cases(both, "y.yaml")
    assert (case.task, case.case.targets, case.case.references, case.case.split) == ("pick_place", (0,), (3,), "seen")
    spec = get_task("pick_place").from_case(case.case, (0, 2, 1), SceneConfig())
    assert [spec.objects[slot] for slot in spec.goal.references] == ["cup"]
    assert [spec.objects[slot] for slot in spec.goal.targets] == ["pear"]


def test_explicit_targets_win_over_geometry_and_an_edit_is_played_anew() -> None:
    said = COMPOSED.format(rest=PHRASE + "\n    targets: [shampoo]", other="red_marker")
    (found,) = read_file_cases(said, "x.yaml")
    task = get_task("pick")
    spec = task.from_case(found.case, (0, 2, 1), SceneConfig())
    assert [spec.objects[slot] for slot in spec.goal.targets] == ["shampoo"]
    assert (
        isinstance(task, Settles)
        and task.settled(spec, SceneTruth(spec.drops, np.ones(3, bool), np.zeros((0, 0, 0), np.uint16))) is spec
    )
    keys = set()
    for word in ("leftmost", "rightmost", "largest"):
        (other,) = read_file_cases(COMPOSED.format(rest=PHRASE.replace("leftmost", word), other="red_marker"), "x.yaml")
        keys.add(file_episodes((other,), 0, ("unseen",), repeats=1)[0].key)
    assert len(keys) == 3


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    text = "cases:\n  - {name: tea, instruction: give me tea, objects: [cup, apple], targets: [0]}\n"
    for ending in ("yaml", "yml"):
        (tmp_path / f"mine.{ending}").write_text(text)
    with pytest.raises(ArtifactError, match="two cases of the task pick are named 'mine/tea'"):
        read_cases_folder(tmp_path)


def test_an_episode_is_listed_once_and_repeats_end_where_the_next_cases_seeds_begin(tmp_path: Path) -> None:
    write(tmp_path, "pick/seen/case00.txt", PICK + objects(SEEN))
    cases = read_cases_folder(tmp_path).cases
    assert len(file_episodes(cases, 3, ("seen", "seen"), repeats=2)) == 2
    for suite in ("paper", "free-development", "wide"):
        keys = [episode.key for episode in suite_episodes(suite, 3, ("seen", "seen"), episodes=2)]
        assert len(keys) == len(set(keys)) > 0
    with pytest.raises(ConfigError, match="10001 repeats"):
        file_episodes(cases, 3, ("seen",), repeats=10_001)
    with pytest.raises(ConfigError, match="10001 repeats"):
        suite_episodes("paper", 3, episodes=10_001)


def test_an_episode_of_a_case_file_is_found_by_its_key(tmp_path: Path) -> None:
    write(tmp_path, "pick/seen/case00.txt", PICK + objects(SEEN))
    cases = read_cases_folder(tmp_path).cases
    for episode in file_episodes(cases, 3, ("seen",), repeats=3):
        found = find_episode(episode.key, 1, 99, cases)
        assert (found.key, found.seed, found.case) == (episode.key, episode.seed, episode.case)
    with pytest.raises(UnknownNameError):
        find_episode("0-3-1-train-00000000", 1, 3, cases)


HEAD = "name: tea\n    instruction: give me tea\n    "


@pytest.mark.parametrize(
    ("task", "fields", "message"),
    [
        ("pick", "objects: [cup, apple]\n    targets: [0]\n    place_objects: [cup]", "the task pick has no 'place_objects'"),
        ("pick", "objects: [cup, apple]\n    targets: [0]\n    held: cup", "the task pick has no 'held'"),
        (
            "place",
            "objects: [cup]\n    place_objects: [cup]\n    relation: near\n    reference: cup",
            "the task place has no 'objects'",
        ),
        (
            "pick",
            "objects: [cup, apple]\n    kind: label\n    keyword: cup\n    modifier: leftmost",
            "the kind 'label' takes no modifier",
        ),
    ],
)
def test_what_a_case_of_the_task_does_not_say_is_refused(task: str, fields: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        read_file_cases(f"task: {task}\ncases:\n  - {HEAD}{fields}\n", "mine.yaml")


def test_a_reference_counts_by_the_rule_that_accepted_it() -> None:
    fields = "relation: near\n    reference: suger\n    place_objects: [yellow_bowl, red_marker, suger_1, gelatin_box]"
    (case,) = (item.case for item in read_file_cases(f"cases:\n  - {HEAD}{fields}\n", "mine.yaml"))
    assert case.references == (2,)
    spec = get_task("place").from_case(case, (0, 1, 2), SceneConfig())
    assert [spec.objects[slot] for slot in spec.goal.references] == ["suger_1"]
