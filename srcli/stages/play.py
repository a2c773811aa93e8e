"""Stage ``play``: sentence after sentence to one scene; each is understood, decided, carried out and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import takewhile
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from srcli.errors import ConfigError, SrcliError

if TYPE_CHECKING:
    from srcli.evaluation.deciding import Decider
    from srcli.evaluation.decision import Decision
    from srcli.evaluation.open_scene import Layout, OpenScene
    from srcli.frames import Observation
    from srcli.params import Params
    from srcli.reporting.film import FilmedWorld
    from srcli.types import HeldExtent

LONGEST = 300
"""Characters of a sentence."""

HELD = "what was held"

COMMANDS: Mapping[str, str] = {
    "undo": "take the last sentence back",
    "again": "say the last sentence once more, what failed left out",
    "meant NAME": "what the last sentence meant, where its words were counted wrongly",
    "objects": "what lies there (the simulator's knowledge)",
    "discard": "take what the gripper holds out of the scene",
    "help": "this list",
    "quit": "end; the session is kept",
}

_REASONS = {
    "nothing_held": "nothing is held: the fingers closed on nothing, or what they held was lost",
    "slipped": "it slipped out of the gripper",
    "collision": "the gripper collided on its way down",
    "no_ik": "the arm does not reach it",
    "dropped": "what was held is lost",
}


@dataclass
class Turn:
    """One sentence and what came of it.

    Attributes:
        decisions: as plain data, one per phase.
        happened: what was held or where it was put, in words.
        counted: names of what counts as right, and by what: the sentence's words, what was said with ``meant``, or, where neither
            tells, what was held.
        right: whether it was that; None where nothing was held or nothing counts.
        pictures, films: files.
        undone: taken back.
    """

    number: int
    sentence: str
    decisions: list[Mapping[str, Any]] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)
    counted_by: str = ""
    right: bool | None = None
    pictures: list[Path] = field(default_factory=list)
    films: list[Path] = field(default_factory=list)
    undone: bool = False
    layout: Layout | None = None
    targets: tuple[int, ...] = ()
    references: tuple[int, ...] = ()
    relation: str = ""
    reference: str = ""
    taken: int | None = None
    poses: list[Any] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As it stands in ``session.json``; files by their names in the folder."""
        return {
            "number": self.number,
            "sentence": self.sentence,
            "decisions": self.decisions,
            "happened": self.happened,
            "counted": self.counted,
            "counted_by": self.counted_by,
            "right": self.right,
            "pictures": [path.name for path in self.pictures],
            "films": [path.name for path in self.films],
            "undone": self.undone,
        }


@dataclass(frozen=True)
class Summary:
    """A session.

    Attributes:
        folder: where it is kept.
        scene: key of the scene, or the folder of frames.
        sentences: how many were said and not taken back.
        cases: the file that ``srcli evaluate --cases`` plays; None where there is no case.
        not_cases: which sentences are no case, and why.
        turns: as in ``session.json``.
    """

    folder: Path
    scene: str
    method: str
    sentences: int
    cases: Path | None
    not_cases: Sequence[str]
    turns: Sequence[Mapping[str, Any]]


def session_folder(out_dir: Path | None, root: Path = Path("results/play")) -> Path:
    """The folder of a new session: the one given, or the next number below ``root``.

    Raises:
        ConfigError: it holds something already.
    """
    if out_dir is not None:
        if out_dir.exists() and not out_dir.is_dir():
            raise ConfigError(f"{out_dir}: is a file", "give a folder for the session")
        if out_dir.is_dir() and any(out_dir.iterdir()):
            raise ConfigError(f"{out_dir}: is not empty", "choose another folder: a session is not written over another")
        return out_dir
    taken = [int(path.name) for path in root.glob("*") if path.name.isdecimal()] if root.is_dir() else []
    return root / f"{max(taken, default=0) + 1}"


def run(
    params: Params,
    lines: Iterable[str],
    answer: Callable[[Iterator[str]], None],
    method: str = "",
    *,
    task: str = "pick",
    split: str = "seen",
    scene: int = 0,
    frames: Path | None = None,
    format: str = "",
    cameras: Sequence[str] = (),
    held: HeldExtent | None = None,
    fit_table: bool = False,
    check: bool = True,
    out_dir: Path | None = None,
    films: bool = True,
    device: str = "cpu",
) -> Summary:
    """Play until the lines end, or one of them says so.

    Args:
        lines: what is typed.
        answer: takes the answer to each line, bit by bit: what takes long happens between them.
        method: ``NAME``, ``NAME=FILE`` or a policy file; empty: the first of ``evaluate.methods``.
        task, split, scene: which scene of the suite ``development``, from 0.
        frames: a folder of recorded frames instead; ``format``, ``cameras``, ``held``, ``fit_table`` and ``check`` belong to it.
        out_dir: empty or new; None: the next number below ``results/play``.
        films: film the arm at work.

    Raises:
        ConfigError: ``out_dir`` holds something, or the method cannot do it.
        ArtifactError, SceneError, SetupError: the frames or the scene cannot be used.
    """
    from srcli.evaluation.deciding import Decider
    from srcli.evaluation.open_scene import OpenScene
    from srcli.frames import Observation
    from srcli.parallel.quiet import reserved
    from srcli.stages.decide import chosen_method, episode_of

    folder = session_folder(out_dir)
    with ExitStack() as stack:
        shown: OpenScene | Observation
        if frames is not None:
            seen = Observation.from_folder(frames, format=format, cameras=cameras, fit_table=fit_table, check=check, held=held)
            shown = seen.with_seed((params.seed,))
        else:
            episode = episode_of(params, task, scene, split)
        decide = Decider(params, chosen_method(params, method), device)
        if frames is None:
            with reserved():
                shown = stack.enter_context(OpenScene(params, episode))
        session = Session(decide, shown, folder, films)
        answer(session.begin())
        for line in lines:
            answer(session.say(line))
            if session.ended:
                break
        return session.summary()


class Session:
    """What is said, line by line. Each line's answer is told as it comes; a mistake costs nothing but the line.

    Args:
        decide: a method ready to decide.
        scene: the simulated scene, or recorded frames, on which nothing is carried out.
        folder: where pictures, films, ``session.json`` and ``cases.yaml`` are written after every sentence.
        films: film what the arm does.
    """

    def __init__(self, decide: Decider, scene: OpenScene | Observation, folder: Path, films: bool = True) -> None:
        from srcli.evaluation.open_scene import OpenScene

        self._decide, self._folder, self._films = decide, folder, films
        self._scene = scene if isinstance(scene, OpenScene) else None
        self._frames = None if isinstance(scene, OpenScene) else scene
        self._turns: list[Turn] = []
        self._not_cases: list[str] = []
        self._cases: Path | None = None
        self.ended = False
        self._write()

    def begin(self) -> Iterator[str]:
        """What there is to see before the first sentence."""
        yield _row("session", self._folder)
        if self._scene is None:
            assert self._frames is not None
            yield _row("frames", f"{self._frames.source}: {', '.join(self._frames.labels)}")
            if self._frames.table is not None:
                yield _row("table", self._frames.table.told(self._frames.labels))
            yield from (_row("note", note) for note in self._frames.notes)
        else:
            yield _row("scene", self._scene.key)
            yield _row("picture", self._portrait("00-scene.png"))
            yield from self._there()
            yield _row("for example", self._scene.sentence)
        yield _row("commands", "help, undo, again, meant NAME, objects, discard, quit")

    def say(self, line: str) -> Iterator[str]:
        """Answer one line: a command or a sentence."""
        said = " ".join(line.split())
        command, _, rest = said.partition(" ")
        try:
            if not said:
                yield 'say what to do, for example "give me the apple"; help lists the commands'
            elif said in ("quit", "exit"):
                self.ended = True
            elif said == "help":
                yield from (f"{name:<12}{text}" for name, text in COMMANDS.items())
            elif said == "undo":
                yield from self._undo()
            elif said == "again":
                yield from self._again()
            elif said == "objects":
                yield from self._there()
            elif said == "discard":
                yield from self._discard()
            elif command == "meant":
                yield from self._meant(rest)
            else:
                yield from self._sentence(said)
        except SrcliError as error:
            yield _row("error", error.message)
            if error.hint:
                yield _row("hint", error.hint)

    def summary(self) -> Summary:
        """What was said and where it is kept."""
        source = self._scene.key if self._scene is not None else str(cast("Observation", self._frames).source)
        kept = [turn for turn in self._turns if not turn.undone]
        turns = [turn.as_dict() for turn in self._turns]
        return Summary(self._folder, source, self._decide.method.label, len(kept), self._cases, self._not_cases, turns)

    # ------------------------------------------------------------------------------------------------------ commands

    def _last(self) -> Turn:
        kept = [turn for turn in self._turns if not turn.undone]
        if not kept:
            raise ConfigError("nothing has been said yet", "say what to do first")
        return kept[-1]

    def _undo(self) -> Iterator[str]:
        turn = self._last()
        if self._scene is not None:
            self._scene.undo()
        turn.undone = True
        self._write()
        yield _row("undone", f'"{turn.sentence}"')
        yield from self._there()

    def _again(self) -> Iterator[str]:
        yield from self._sentence(self._last().sentence)

    def _discard(self) -> Iterator[str]:
        if self._scene is None:
            raise ConfigError("on recorded frames nothing is held", "--held RADIUS,HALF-WIDTH,HEIGHT decides a placement")
        held = self._scene.layout().held
        self._scene.discard()
        yield _row("discarded", _label(held))
        yield from self._there()

    def _meant(self, text: str) -> Iterator[str]:
        turn = self._last()
        if self._scene is None or turn.layout is None:
            raise ConfigError("what recorded frames show is not known by name", "only simulated scenes make cases")
        from srcli.errors import unknown_name
        from srcli.evaluation.intent import stands_for

        wanted = text.strip().lower()
        lying = [*turn.layout.pick, *turn.layout.place]
        exact = {item.slot for item in lying if wanted in (item.name, _label(item.name))}
        slots = exact or {lying[i].slot for i in stands_for(wanted, [item.name for item in lying])}
        if not slots:
            raise unknown_name("object of this scene", wanted, {_label(item.name) for item in lying})
        places = {item.slot for item in turn.layout.place} if turn.relation else set()
        if slots & places:
            turn.references = tuple(sorted(slots & places))
        if slots - places:
            turn.targets = tuple(sorted(slots - places))
        self._count(turn, "meant")
        self._write()
        yield _row("counted", self._counted(turn))

    def _there(self) -> Iterator[str]:
        if self._scene is None:
            yield _row("objects", "what recorded frames show is not known by name")
            return
        from srcli.evaluation.open_scene import labels

        layout = self._scene.layout()
        if layout.held:
            yield _row("held", _label(layout.held))
        yield _row("objects", ", ".join(labels(layout.pick)) or "none")
        if self._scene.zones > 1:
            yield _row("to place", ", ".join(labels(layout.place)) or "none")

    # ------------------------------------------------------------------------------------------------------ sentences

    def _sentence(self, sentence: str) -> Iterator[str]:
        if len(sentence) > LONGEST:
            raise ConfigError(f"the sentence has {len(sentence)} characters, more than {LONGEST}", "say it shorter")
        if not sentence.isprintable():
            raise ConfigError("the sentence holds characters that are no text", "say it in plain words")
        understood = self._decide.listener(sentence, 3)
        yield from (_row("corrected", f'"{typed}" as "{read}"') for typed, read in understood.corrected)
        if understood.unknown:
            yield _row("unknown", ", ".join(understood.unknown))
        if not understood.something:
            raise ConfigError(
                "nothing of the sentence is understood, so nothing is done",
                "name an object, a kind, a look or a use; objects lists what lies there",
            )
        if self._scene is None:
            yield from self._on_frames(sentence)
            return
        scene, holding = self._scene, self._scene.holding
        if holding and (understood.place is None or understood.pick is not None):
            raise ConfigError(f"the gripper holds the {_label(scene.layout().held)}", "say where to put it, discard it, or undo")
        if not holding and understood.pick is None:
            raise ConfigError("the sentence names nothing to take, and the gripper holds nothing", "say what to take")
        if not holding and not scene.layout().pick:
            raise ConfigError("nothing is left on the table", "undo, or quit and play another scene (--scene)")
        if understood.place is not None and not scene.places:
            yield _row("note", "this scene has no place to put things: what is taken leaves it; --task pick_place has one")
        turn = Turn(len(self._turns) + 1, sentence, layout=scene.layout())
        self._expect(turn, sentence)
        scene.remember()
        try:
            yield from self._act(turn)
            if turn.taken is not None and not holding:
                if understood.place is not None and scene.places:
                    if scene.holding:
                        yield from self._act(turn)
                elif not scene.places:
                    scene.discard()
        finally:
            if not scene.forget():
                self._turns.append(turn)
                self._write()
        yield _row("counted", self._counted(turn))
        layout = scene.layout()
        count = len(layout.pick)
        yield _row("left", f"{count} object{'s' * (count != 1)}" if count else "nothing: undo, or quit")

    def _act(self, turn: Turn) -> Iterator[str]:
        """One decision of a turn, carried out."""
        scene = cast("OpenScene", self._scene)
        decision = self._decide(scene.look(), turn.sentence)
        picking = decision.phase == "pick"
        yield from self._tell(turn, decision)
        execution, _, after = self._filmed(turn, decision)
        yield from (_row("film", path) for path in turn.films[len(turn.pictures) - 1 :])
        slot = execution.slot
        if slot is None or execution.reason.value != "success":
            turn.happened.append(_REASONS.get(execution.reason.value, execution.reason.value.replace("_", " ")))
        elif picking:
            turn.taken = slot
            turn.happened.append(f"held the {_label(scene.names[slot])}")
        else:
            x, y, z = after.poses[slot, :3]
            where = f"at rest at ({x:.3f}, {y:.3f}, {z:.3f})" if after.present[slot] else "not in the zone any more"
            turn.happened.append(f"put the {_label(scene.names[slot])} down: {where}")
            turn.right = self._placed_right(turn, slot, after)
        if picking:
            if turn.taken is not None and not turn.targets and not turn.relation:
                turn.targets, turn.counted_by = (turn.taken,), HELD
            self._count(turn, turn.counted_by)
        yield _row("happened", turn.happened[-1])

    def _tell(self, turn: Turn, decision: Decision) -> Iterator[str]:
        heard = decision.understood.told(decision.phase)
        if heard:
            yield _row("heard", heard)
        yield from (_row("note", note) for note in decision.notes)
        yield _row(decision.method, decision.told()[0])
        decision.action  # noqa: B018  # says why where there is nothing to choose from
        turn.decisions.append(decision.as_dict(5))
        name = f"{turn.number:02d}-{decision.phase}.png"
        turn.pictures.append(decision.draw(self._folder / name))
        yield _row("picture", turn.pictures[-1])

    def _filmed(self, turn: Turn, decision: Decision) -> Any:
        scene, section = cast("OpenScene", self._scene), self._decide.params.report
        if not self._films:
            return scene.execute(decision.action)
        from srcli.artifacts.writing import atomic_write
        from srcli.reporting.film import Recorder, animation, film_camera

        recorder = Recorder(cast("FilmedWorld", scene.world), film_camera(scene.zones > 1), section.frames)
        recorder.start()
        try:
            done = scene.execute(decision.action)
        finally:
            recorder.stop()
        if len(recorder.frames) > 1:
            path = self._folder / f"{turn.number:02d}-{decision.phase}.webp"
            with atomic_write(path) as temporary:
                temporary.write_bytes(animation(recorder.frames, section.frame_rate))
            turn.films.append(path)
        return done

    def _on_frames(self, sentence: str) -> Iterator[str]:
        """On recorded frames nothing is carried out: what was chosen for the same sentence before is left out."""
        from srcli.frames.observation import changed

        seen = cast("Observation", self._frames)
        kept = [turn for turn in self._turns if not turn.undone]
        before = list(takewhile(lambda turn: turn.sentence == sentence, reversed(kept)))
        failed = [pose for turn in before for pose in turn.poses]
        turn = Turn(len(self._turns) + 1, sentence)
        decision = self._decide(changed(seen, failed=(*seen.failed, *failed)), sentence)
        yield from self._tell(turn, decision)
        turn.poses.append(decision.pose.astype("float32"))
        turn.happened.append("recorded frames: nothing is carried out")
        self._turns.append(turn)
        self._write()
        yield _row("happened", turn.happened[-1])

    # ------------------------------------------------------------------------------------------------------ what counts

    def _expect(self, turn: Turn, sentence: str) -> None:
        """What counts as right by the words of a sentence."""
        from srcli.evaluation.intent import stands_for
        from srcli.language.relations import parse_place, split_instruction

        layout = cast("Layout", turn.layout)
        reading = self._decide.listener.read(sentence).text
        pick, _ = split_instruction(reading)
        if not layout.held and pick:
            turn.targets = tuple(layout.pick[i].slot for i in stands_for(pick, [item.name for item in layout.pick]))
        phrase = parse_place(reading)
        if phrase is not None and layout.place and split_instruction(reading)[1]:
            turn.relation, turn.reference = phrase.relation, phrase.reference
            found = stands_for(phrase.reference, [item.name for item in layout.place])
            turn.references = tuple(layout.place[i].slot for i in found)
        self._count(turn, "its words")

    def _count(self, turn: Turn, by: str) -> None:
        layout = cast("Layout", turn.layout)
        names = {item.slot: item.name for item in (*layout.pick, *layout.place)}
        chosen = dict.fromkeys((*turn.targets, *turn.references))
        turn.counted = sorted({_label(names[slot]) for slot in chosen if slot in names})
        turn.counted_by = by if turn.counted else ""
        if turn.taken is not None and turn.targets and not turn.relation and by != HELD:
            turn.right = turn.taken in turn.targets

    def _counted(self, turn: Turn) -> str:
        verdict = {True: ": right", False: ": wrong", None: ""}[turn.right]
        if not turn.counted:
            return "nothing in the scene carries its words; meant NAME says what it meant"
        return f"{', '.join(turn.counted)}, by {turn.counted_by}{verdict}"

    def _placed_right(self, turn: Turn, slot: int, after: Any) -> bool | None:
        from srcli.language.relations import RELATIONS
        from srcli.tasks.outlines import outlines
        from srcli.tasks.regions import satisfied

        if not turn.references or not turn.relation:
            return None
        if turn.taken is not None and turn.targets and turn.taken not in turn.targets:
            return False
        scene = outlines(cast("OpenScene", self._scene).names, after)
        region = RELATIONS[turn.relation].region
        return any(satisfied(region, slot, other, scene, after.contacts) for other in turn.references if other in scene)

    # ------------------------------------------------------------------------------------------------------ files

    def _portrait(self, name: str) -> Path:
        """The scene as a person in front of the table sees it."""
        from PIL import Image

        from srcli.artifacts.writing import atomic_write
        from srcli.reporting.film import film_camera

        scene = cast("OpenScene", self._scene)
        path = self._folder / name
        with atomic_write(path) as temporary:
            Image.fromarray(scene.picture(film_camera(scene.zones > 1))).save(temporary, "PNG")
        return path

    def _write(self) -> None:
        import json

        from srcli.artifacts.writing import atomic_write
        from srcli.evaluation.casewriting import NoCase, case_entry, case_name, case_text

        entries, self._not_cases = [], []
        for turn in self._turns:
            if turn.undone or turn.layout is None:
                continue
            try:
                placing = (turn.references, turn.relation, turn.reference) if turn.references else ((), "", "")
                name = case_name(turn.number, turn.sentence)
                entries.append(case_entry(name, turn.sentence, turn.layout, turn.targets, *placing))
            except NoCase as reason:
                self._not_cases.append(f"{turn.number}: {reason}")
        path = self._folder / "cases.yaml"
        self._cases = path if entries else None
        if entries:
            with atomic_write(path) as temporary:
                temporary.write_text(case_text(entries), encoding="utf-8")
        else:
            path.unlink(missing_ok=True)
        found = self.summary()
        record = {
            "scene": found.scene,
            "method": found.method,
            "sentences": found.sentences,
            "not_cases": list(found.not_cases),
            "turns": list(found.turns),
        }
        with atomic_write(self._folder / "session.json") as temporary:
            temporary.write_text(json.dumps(_plain(record), indent=2) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Plain data in which NaN and infinity, which JSON has not, are null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _label(name: str) -> str:
    from srcli.objects import catalogue

    return catalogue()[name].label


def _row(name: str, text: object) -> str:
    return f"{name:<11} {text}"
