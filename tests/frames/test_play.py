"""Sentence after sentence to one scene: what is understood, done, taken back, and kept as cases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.errors import BusyError, ConfigError
from srcli.evaluation.casefiles import read_cases_folder
from srcli.evaluation.casewriting import NoCase, case_entry, case_name, case_text
from srcli.evaluation.deciding import Decider
from srcli.evaluation.intent import stands_for
from srcli.evaluation.open_scene import Layout, Lying, OpenScene, _State
from srcli.evaluation.scene import Scene
from srcli.evaluation.suites import file_episodes
from srcli.frames import Observation
from srcli.params import Params
from srcli.params.loading import override
from srcli.reporting import film
from srcli.seeding import SPLIT_STRIDE
from srcli.stages.decide import episode_of
from srcli.stages.play import verdict
from srcli.stages.play.keeping import session_folder
from srcli.stages.play.session import COMMANDS, LONGEST, Session
from srcli.stages.play.turns import Put, Turn
from srcli.tasks.outlines import outlines
from srcli.types import Action, Execution, HeldExtent, Reason, SceneTruth


@pytest.fixture(scope="module")
def small() -> Params:
    return override(Params(), {"scene.objects": 5})


@pytest.fixture(scope="module")
def scene(small: Params) -> Iterator[OpenScene]:
    with OpenScene(small, episode_of(small, "pick", 3)) as made:
        yield made


def said(session: Session, line: str) -> dict[str, str]:
    """The answer by its rows."""
    return {row.split()[0]: row.partition(" ")[2].strip() for row in session.say(line)}


def test_a_session_is_understood_done_taken_back_and_kept(
    scene: OpenScene, small: Params, decider: Decider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(decider, scene, tmp_path)
    first = list(session.begin())
    assert first[-1].split(maxsplit=1)[1] == "help, undo, again, meant NAME, objects, discard, quit"
    assert [row.split()[0] for row in session.say("help")] == list(COMMANDS)
    assert any(scene.sentence in row for row in first) and (tmp_path / "00-scene.png").stat().st_size > 5_000
    before = scene.layout()

    for line, problem in {
        "undo": "nothing has been said yet",
        "qux zorp": "nothing of the sentence is understood",
        "put it near the mug": "names nothing to take",
        "discard": "holds nothing",
        "meant apple": "nothing has been said yet",
        "give me " + "the apple " * LONGEST: "characters, more than",
        "give me the apple\x00": "no text",
    }.items():
        assert problem in said(session, line)["error"], line
    assert "say what to do" in " ".join(session.say("  "))
    assert not list(tmp_path.glob("0[1-9]*")) and json.loads((tmp_path / "session.json").read_text())["turns"] == []

    told = said(session, scene.sentence)
    assert told["happened"].startswith("held the ") and told["counted"].endswith("by its words: right")
    assert {path.name for path in tmp_path.iterdir()} == {
        *("00-scene.png", "01-pick.png", "01-pick.webp", "cases.yaml", "session.json")
    }
    assert (tmp_path / "01-pick.png").stat().st_size > 10_000 and (tmp_path / "01-pick.webp").stat().st_size > 2_000
    assert len(scene.layout().pick) == 4 and not scene.holding

    # What was said is a case: it stands as it lay, and can be played.
    (item,) = read_cases_folder(tmp_path).cases
    assert (item.task, item.case.instruction) == ("pick", scene.sentence)
    assert item.case.objects == tuple(lying.name for lying in before.pick)
    assert told["happened"].removeprefix("held the ") in told["counted"].partition(", by")[0].split(", ")
    (again,) = file_episodes([item], 0, [item.case.split], 1)
    with Scene(small, again) as played:
        poses = played._truth.poses if played._truth is not None else np.zeros((0, 7))
        assert np.abs(poses[:, :2] - np.array([lying.pose[:2] for lying in before.pick])).max() < 0.02

    other = next(lying.name for lying in before.pick if lying.slot not in session._turns[0].targets)
    assert said(session, f"meant {other}")["counted"].endswith("by meant: wrong")
    assert read_cases_folder(tmp_path).cases[0].case.targets == (item.case.objects.index(other),)
    assert "unknown object of this scene" in said(session, "meant piano")["error"]

    choice = session._turns[0].acts[0].decision["action"]
    assert "undone" in said(session, "undo")
    after = scene.layout()
    assert [lying.slot for lying in after.pick] == [lying.slot for lying in before.pick]
    np.testing.assert_array_equal([lying.pose for lying in after.pick], [lying.pose for lying in before.pick])
    assert session.summary().cases is None and not (tmp_path / "cases.yaml").exists()
    # A film of one picture is none.
    monkeypatch.setattr(film.Recorder, "start", lambda self: None)
    again_told = said(session, scene.sentence)
    assert again_told["happened"] == told["happened"] and "film" not in again_told
    assert session._turns[1].acts[0].decision["action"] == choice
    turns = json.loads((tmp_path / "session.json").read_text())["turns"]
    assert [turn["undone"] for turn in turns] == [True, False] and session.summary().sentences == 1
    assert [turn["pictures"] for turn in turns] == [["01-pick.png"], ["02-pick.png"]]
    assert [turn["films"] for turn in turns] == [["01-pick.webp"], [None]]
    list(session.say("exit"))
    assert session.ended


def test_nothing_left_is_said(scene: OpenScene, decider: Decider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenScene, "layout", lambda self: Layout((), (), "", True))
    session = Session(decider, scene, tmp_path, films=False)
    assert said(session, "give me the apple")["error"] == "nothing is left on the table"
    assert session.summary().sentences == 0


def test_what_is_held_is_put_where_the_next_sentence_says(decider: Decider, tmp_path: Path) -> None:
    params = override(Params(), {"scene.place_objects": 3})
    with OpenScene(params, episode_of(params, "place", 0)) as scene:
        session = Session(decider, scene, tmp_path, films=False)
        held = scene.layout().held
        assert held and scene.phase == "place" and scene.zones == 1
        assert "the gripper holds" in said(session, "give me the apple")["error"]
        told = said(session, scene.sentence)
        assert told["happened"].startswith("put the ") and told["counted"].split(":")[-1].strip() in ("right", "wrong")
        (item,) = read_cases_folder(tmp_path).cases
        assert (item.task, item.case.held) == ("place", held) and item.case.references
        assert not scene.holding and scene.phase == "pick"
        assert "undone" in said(session, "undo") and scene.layout().held == held


def test_recorded_frames_are_asked_without_a_simulator(lone: Path, decider: Decider, tmp_path: Path) -> None:
    session = Session(decider, Observation.from_folder(lone), tmp_path)
    assert len(list(session.begin())) >= 3
    for _ in range(2):
        assert said(session, "give me the banana")["happened"] == "recorded frames: nothing is carried out"
    first, second = (turn.acts[0].decision["action"]["index"] for turn in session._turns)
    assert first != second
    said(session, "undo")
    said(session, "again")
    assert session._turns[2].acts[0].decision["action"]["index"] == second
    assert session.summary().cases is None and "not known by name" in said(session, "objects")["objects"]
    assert "only simulated scenes" in said(session, "meant banana")["hint"]


def test_the_command_reads_a_pipe_and_needs_no_display(lone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.chdir(tmp_path)
    lines = b"help\n\xff\xfe\ngive me the banana\nquit\nnever read\n"
    done = CliRunner().invoke(app, ["play", "--frames", str(lone), "-m", "similarity"], input=lines)
    assert done.exit_code == 0, done.output
    assert "say> give me the banana" in done.stdout and "similarity  grasp at" in done.stdout
    assert "never read" not in done.stdout and Path("results/play/1/01-pick.png").is_file()
    refused = CliRunner().invoke(app, ["play", "--frames", str(lone), "--task", "pick"], input="")
    assert refused.exit_code == 2 and "--task belongs to a simulated scene" in refused.stderr
    refused = CliRunner().invoke(app, ["play", "--fit-table"], input="")
    assert refused.exit_code == 2 and "--fit-table belongs to --frames" in refused.stderr
    refused = CliRunner().invoke(app, ["play", "--out", "results/play/1"], input="")
    assert refused.exit_code == 2 and "is not empty" in refused.stderr
    refused = CliRunner().invoke(app, ["play", "--out", str(lone / "cameras.json")], input="")
    assert refused.exit_code == 2 and "is a file" in refused.stderr


def test_a_session_has_its_folder_alone(tmp_path: Path) -> None:
    root = tmp_path / "play"
    with session_folder(None, root) as first, session_folder(None, root) as second:
        assert (first, second) == (root / "1", root / "2") and first.is_dir() and second.is_dir()
        with pytest.raises(BusyError, match="another run"), session_folder(first, root):
            pass
        (second / "session.json").write_text("{}")
    # What nobody has used is taken away; what is there is counted on from.
    assert not first.exists() and second.is_dir()
    with session_folder(None, root) as third:
        assert third == root / "3"
    with pytest.raises(ConfigError, match="is not empty"), session_folder(second, root):
        pass
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="a file is in its place"), session_folder(None, root):
            pass
    (tmp_path / "mine").mkdir()
    with session_folder(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir()


NAMES = ("banana", "zebra", "yellow_bowl", "red_mug")


def lying(slot: int, x: float) -> Lying:
    return Lying(slot, NAMES[slot], np.array([x, 0.0, 0.05, 0, 0, 0, 1.0]))


HERE, THERE = (lying(0, 0.4), lying(1, 0.6)), (lying(2, 0.35), lying(3, 0.65))


def heard(sentence: str, layout: Layout, placing: bool) -> Turn:
    turn = Turn(1, sentence, layout, placing)
    verdict.expect(turn, layout, sentence)
    return turn


def put_beside(slot: int, x: float) -> Put:
    """Slot put down 10 cm from what lies at x in the place zone."""
    poses = np.stack([item.pose for item in (*HERE, *THERE)])
    poses[slot, :2] = x, 0.1
    present = np.isin(np.arange(4), [slot, 2, 3])
    truth = SceneTruth(poses, present, np.zeros((0, 0, 0), np.uint16))
    return Put(slot, outlines(NAMES, truth), ())


def test_what_was_meant_is_judged_anew() -> None:
    layout = Layout(HERE, THERE, "", True)
    turn = heard("take the banana and put it next to the yellow bowl", layout, placing=True)
    assert verdict.told(turn) == "banana, yellow bowl, by its words" and verdict.right(turn) is None
    turn.taken = 0
    assert verdict.right(turn) is None  # it is still in the gripper
    turn.put = put_beside(0, 0.65)
    assert verdict.told(turn) == "banana, yellow bowl, by its words: wrong"
    assert verdict.case_of(turn, layout)["references"] == [0]
    verdict.correct(turn, layout, "red mug")
    assert verdict.told(turn) == "banana, red mug, by meant: right"
    assert verdict.case_of(turn, layout)["references"] == [1]
    verdict.correct(turn, layout, "zebra")
    assert verdict.told(turn) == "red mug, zebra, by meant: wrong"
    held = Layout((), THERE, "banana", True)
    turn = heard("put it next to the yellow bowl", held, placing=True)
    turn.put = put_beside(0, 0.35)
    assert verdict.told(turn) == "yellow bowl, by its words: right"
    with pytest.raises(ConfigError, match="about where to put the banana"):
        verdict.correct(turn, Layout(HERE[1:], THERE, "banana", True), "zebra")


def test_nothing_is_a_case_before_it_is_known_what_counts() -> None:
    layout = Layout(HERE, THERE, "", True)
    turn = heard("take the banana and put it next to the piano", layout, placing=True)
    turn.taken, turn.put = 0, put_beside(0, 0.65)
    assert verdict.told(turn) == "banana, by its words; meant NAME says where it should be put"
    with pytest.raises(NoCase, match="not known where it should be put"):
        verdict.case_of(turn, layout)
    verdict.correct(turn, layout, "red mug")
    entry = verdict.case_of(turn, layout)
    assert (entry["targets"], entry["references"], entry["reference"]) == ([0], [1], "piano") and verdict.right(turn)

    turn = heard("take the banana and put it somewhere", layout, placing=True)
    with pytest.raises(NoCase, match="name no relation"):
        verdict.case_of(turn, layout)

    turn = heard("give me the wobbly thing", Layout(HERE, (), "", True), placing=False)
    turn.taken = 1
    assert turn.counted_by == "" and verdict.right(turn) is None and "carries its words" in verdict.told(turn)
    with pytest.raises(NoCase, match="not known what it meant to take"):
        verdict.case_of(turn, Layout(HERE, (), "", True))
    verdict.correct(turn, Layout(HERE, (), "", True), "zebra")
    assert verdict.right(turn) and verdict.case_of(turn, Layout(HERE, (), "", True))["targets"] == [1]


def test_words_stand_for_the_objects_that_carry_most_of_them() -> None:
    names = ["red_mug", "yellow_cup", "zebra", "yellow_bowl"]
    for text, meant in {
        "give me the red mug": (0,),
        "the yellow one": (1, 3),
        "the yellow cup next to the zebra": (1,),
        "something yellow, but not the yellow cup": (3,),
        "good morning": (),
    }.items():
        assert stands_for(text, names) == meant, text


def test_what_no_case_can_hold_is_said() -> None:
    pose = np.array([0.5, 0.0, 0.05, 0, 0, 0, 1.0])
    lying = (Lying(0, "red_mug", pose), Lying(1, "zebra", pose))
    layout = Layout(lying, lying, "", True)
    entry = case_entry("a", "give me the zebra", layout, (1,))
    assert entry["targets"] == [1] and "place_objects" not in entry and "- [0.5, 0.0, 0.05," in case_text([entry])
    for changed, given, problem in (
        (layout, {}, "not known what counts"),
        (layout, {"targets": (7,)}, "does not lie there"),
        (layout, {"targets": (1,), "references": (0,), "relation": "in", "reference": "mug"}, "one zone"),
        (Layout(lying, (), "", False), {"targets": (1,)}, "vary"),
    ):
        with pytest.raises(NoCase, match=problem):
            case_entry("a", "give me the zebra", changed, **given)  # type: ignore[arg-type]
    with pytest.raises(NoCase, match="instruction"):
        case_entry("a", "up", layout, (1,))
    assert case_name(3, "Give me: the apple!") == "03-give-me-the-apple" and case_name(1, "…") == "01-sentence"


@pytest.mark.parametrize("scene", [-1, SPLIT_STRIDE, 10**11])
def test_a_scene_that_there_is_not_is_refused_before_any_is_drawn(scene: int) -> None:
    with pytest.raises(ConfigError, match="counted from 0 to 999999"):
        episode_of(Params(), "pick", scene)


class Losing:
    """A world that drops what it holds on the way."""

    shift, held = 0.0, 0

    def enter_zone(self, shift: float) -> None:
        self.shift = shift

    def truth(self, segmentation: object) -> None:
        return None

    def execute(self, action: Action) -> Execution:
        self.held = None  # type: ignore[assignment]
        return Execution(Reason.DROPPED, 0, 10)


def test_after_a_placement_that_lost_the_object_something_else_can_be_taken() -> None:
    opened: Any = object.__new__(OpenScene)
    opened._world = Losing()
    opened._state = _State(failed=(np.zeros(7, np.float32),), held=HeldExtent(0.02, 0.02, 0.05))
    opened.execute(Action("place", np.zeros(7, np.float32), 0.0, 0))
    assert opened.phase == "pick" and opened._state.held is None and opened._state.failed == () and opened._state.number == 1
