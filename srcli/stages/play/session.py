"""A session of ``play``: what is typed, line by line, and the answer to each line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from srcli.errors import ConfigError, SrcliError
from srcli.stages.play import verdict
from srcli.stages.play.keeping import Summary, write_session
from srcli.stages.play.turns import Act, Put, Turn

if TYPE_CHECKING:
    from srcli.evaluation.deciding import Decider
    from srcli.evaluation.decision import Decision
    from srcli.evaluation.open_scene import OpenScene
    from srcli.frames import Observation
    from srcli.reporting.film import FilmedWorld
    from srcli.types import Execution, SceneTruth

LONGEST = 300
"""Characters of a sentence."""

_REASONS = {
    "nothing_held": "nothing is held: the fingers closed on nothing, or what they held was lost",
    "slipped": "it slipped out of the gripper",
    "collision": "the gripper collided on its way down",
    "no_ik": "the arm does not reach it",
    "dropped": "what was held is lost",
}


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
        self.ended = False
        self._kept = self._write()

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
        yield _row("commands", ", ".join(command.usage for command in COMMANDS.values()))

    def say(self, line: str) -> Iterator[str]:
        """Answer one line: a command or a sentence."""
        said = " ".join(line.split())
        word, _, rest = said.partition(" ")
        command = COMMANDS.get(_OTHER_WORDS.get(word, word))
        try:
            if not said:
                yield 'say what to do, for example "give me the apple"; help lists the commands'
            elif command is not None and (command.named or not rest):
                yield from command.answer(self, rest)
            else:
                yield from self._sentence(said)
        except SrcliError as error:
            yield _row("error", error.message)
            if error.hint:
                yield _row("hint", error.hint)

    def summary(self) -> Summary:
        """What was said and where it is kept."""
        return self._kept

    # ------------------------------------------------------------------------------------------------------ commands

    def _last(self) -> Turn:
        kept = [turn for turn in self._turns if not turn.undone]
        if not kept:
            raise ConfigError("nothing has been said yet", "say what to do first")
        return kept[-1]

    def _help(self, _: str) -> Iterator[str]:
        yield from (f"{command.usage:<12}{command.text}" for command in COMMANDS.values())

    def _undo(self, _: str) -> Iterator[str]:
        turn = self._last()
        if self._scene is not None:
            self._scene.undo()
        turn.undone = True
        self._kept = self._write()
        yield _row("undone", f'"{turn.sentence}"')
        yield from self._there()

    def _again(self, _: str) -> Iterator[str]:
        yield from self._sentence(self._last().sentence)

    def _discard(self, _: str) -> Iterator[str]:
        if self._scene is None:
            raise ConfigError("on recorded frames nothing is held", "--held RADIUS,HALF-WIDTH,HEIGHT decides a placement")
        held = self._scene.layout().held
        self._scene.discard()
        yield _row("discarded", verdict.label(held))
        yield from self._there()

    def _meant(self, name: str) -> Iterator[str]:
        turn = self._last()
        if self._scene is None or turn.layout is None:
            raise ConfigError("what recorded frames show is not known by name", "only simulated scenes make cases")
        verdict.correct(turn, turn.layout, name)
        self._kept = self._write()
        yield _row("counted", verdict.told(turn))

    def _quit(self, _: str) -> Iterator[str]:
        self.ended = True
        yield from ()

    def _there(self, _: str = "") -> Iterator[str]:
        if self._scene is None:
            yield _row("objects", "what recorded frames show is not known by name")
            return
        from srcli.evaluation.open_scene import labels

        layout = self._scene.layout()
        if layout.held:
            yield _row("held", verdict.label(layout.held))
        yield _row("objects", ", ".join(labels(layout.pick)) or "none")
        if self._scene.zones > 1:
            yield _row("to place", ", ".join(labels(layout.place)) or "none")

    # ------------------------------------------------------------------------------------------------------ sentences

    def _sentence(self, sentence: str) -> Iterator[str]:
        if len(sentence) > LONGEST:
            raise ConfigError(f"the sentence has {len(sentence)} characters, more than {LONGEST}", "say it shorter")
        if not sentence.isprintable():
            raise ConfigError("the sentence holds characters that are no text", "say it in plain words")
        understood = self._decide.understand(sentence)
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
            held = verdict.label(scene.layout().held)
            raise ConfigError(f"the gripper holds the {held}", "say where to put it, discard it, or undo")
        if not holding and understood.pick is None:
            raise ConfigError("the sentence names nothing to take, and the gripper holds nothing", "say what to take")
        if not holding and not scene.layout().pick:
            raise ConfigError("nothing is left on the table", "undo, or quit and play another scene (--scene)")
        if understood.place is not None and not scene.places:
            yield _row("note", "this scene has no place to put things: what is taken leaves it; --task pick_place has one")
        layout = scene.layout()
        turn = Turn(len(self._turns) + 1, sentence, layout, placing=understood.place is not None and scene.places)
        verdict.expect(turn, layout, self._decide.listener.read(sentence).text)
        scene.remember()
        try:
            yield from self._act(turn)
            if turn.taken is not None:
                if turn.placing and scene.holding:
                    yield from self._act(turn)
                elif not scene.places:
                    scene.discard()
        finally:
            if not scene.forget():
                self._turns.append(turn)
                self._kept = self._write()
        yield _row("counted", verdict.told(turn))
        count = len(scene.layout().pick)
        yield _row("left", f"{count} object{'s' * (count != 1)}" if count else "nothing: undo, or quit")

    def _act(self, turn: Turn) -> Iterator[str]:
        """One decision of a turn, carried out."""
        from srcli.tasks.outlines import outlines

        scene = cast("OpenScene", self._scene)
        decision = self._decide(scene.look(), turn.sentence)
        picture, _ = self._files(turn, decision)
        yield from self._told(decision, picture)
        execution, after, film = self._carried_out(turn, decision)
        if film is not None:
            yield _row("film", film)
        happened, slot = self._happened(decision, execution, after), execution.slot
        if slot is not None and execution.reason.value == "success":
            if decision.phase == "pick":
                turn.taken = slot
            else:
                turn.put = Put(slot, outlines(scene.names, after, scene.looks), after.contacts)
        turn.acts.append(Act(decision.as_dict(5), picture, happened, decision.action.pose, film))
        yield _row("happened", happened)

    def _files(self, turn: Turn, decision: Decision) -> tuple[Path, Path]:
        """Of the picture and the film of a decision."""
        stem = self._folder / f"{turn.number:02d}-{decision.phase}"
        return stem.with_suffix(".png"), stem.with_suffix(".webp")

    def _told(self, decision: Decision, picture: Path) -> Iterator[str]:
        heard = decision.understood.told(decision.phase)
        if heard:
            yield _row("heard", heard)
        yield from (_row("note", note) for note in decision.notes)
        yield _row(decision.method, decision.told()[0])
        decision.action  # noqa: B018  # says why where there is nothing to choose from
        yield _row("picture", decision.draw(picture))

    def _carried_out(self, turn: Turn, decision: Decision) -> tuple[Execution, SceneTruth, Path | None]:
        """What came of it, the state after that, and the film where one was made."""
        scene, section = cast("OpenScene", self._scene), self._decide.params.report
        if not self._films:
            execution, _, after = scene.execute(decision.action)
            return execution, after, None
        from srcli.artifacts.writing import atomic_write
        from srcli.reporting.film import Recorder, animation, film_camera

        recorder = Recorder(cast("FilmedWorld", scene.world), film_camera(scene.zones > 1), section.frames)
        recorder.start()
        try:
            execution, _, after = scene.execute(decision.action)
        finally:
            recorder.stop()
        if len(recorder.frames) < 2:
            return execution, after, None
        _, film = self._files(turn, decision)
        with atomic_write(film) as temporary:
            temporary.write_bytes(animation(recorder.frames, section.frame_rate))
        return execution, after, film

    def _happened(self, decision: Decision, execution: Execution, after: SceneTruth) -> str:
        """In words."""
        scene, slot, reason = cast("OpenScene", self._scene), execution.slot, execution.reason.value
        if slot is None or reason != "success":
            return _REASONS.get(reason, reason.replace("_", " "))
        if decision.phase == "pick":
            return f"held the {verdict.label(scene.names[slot])}"
        x, y, z = after.poses[slot, :3]
        where = f"at rest at ({x:.3f}, {y:.3f}, {z:.3f})" if after.present[slot] else "not in the zone any more"
        return f"put the {verdict.label(scene.names[slot])} down: {where}"

    def _on_frames(self, sentence: str) -> Iterator[str]:
        """On recorded frames nothing is carried out: what was chosen for the same sentence before is left out."""
        from srcli.frames.observation import changed

        seen = cast("Observation", self._frames)
        kept = [turn for turn in self._turns if not turn.undone]
        before = list(takewhile(lambda turn: turn.sentence == sentence, reversed(kept)))
        failed = [act.pose for turn in before for act in turn.acts]
        turn = Turn(len(self._turns) + 1, sentence)
        decision = self._decide(changed(seen, failed=(*seen.failed, *failed)), sentence)
        picture, _ = self._files(turn, decision)
        yield from self._told(decision, picture)
        happened = "recorded frames: nothing is carried out"
        turn.acts.append(Act(decision.as_dict(5), picture, happened, decision.pose.astype("float32")))
        self._turns.append(turn)
        self._kept = self._write()
        yield _row("happened", happened)

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

    def _write(self) -> Summary:
        source = self._scene.key if self._scene is not None else str(cast("Observation", self._frames).source)
        return write_session(self._folder, source, self._decide.method.label, self._turns)


@dataclass(frozen=True)
class Command:
    """What can be typed instead of a sentence.

    Attributes:
        usage: as it is typed, names in capitals.
        text: what it does.
        answer: the session's answer; gets what is typed behind the word.
        named: something is typed behind the word; without that, more words than the one are a sentence.
    """

    usage: str
    text: str
    answer: Callable[[Session, str], Iterator[str]]
    named: bool = False


COMMANDS: Mapping[str, Command] = {
    "help": Command("help", "this list", Session._help),
    "undo": Command("undo", "take the last sentence back", Session._undo),
    "again": Command("again", "say the last sentence once more, what failed left out", Session._again),
    "meant": Command("meant NAME", "what the last sentence meant, where its words do not tell it", Session._meant, named=True),
    "objects": Command("objects", "what lies there (the simulator's knowledge)", Session._there),
    "discard": Command("discard", "take what the gripper holds out of the scene", Session._discard),
    "quit": Command("quit", "end; the session is kept", Session._quit),
}
_OTHER_WORDS = {"exit": "quit"}


def _row(name: str, text: object) -> str:
    return f"{name:<11} {text}"
