"""A simulated scene without a goal: whatever is said is carried out on what is left of it, and can be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Literal

import numpy as np

from srcli.errors import ConfigError, SceneError
from srcli.evaluation.attempt import EpisodeContext, default_placer, own_sampler
from srcli.evaluation.scene import look
from srcli.evaluation.setup import NO_IMAGE, set_up
from srcli.evaluation.suites import SuiteEpisode
from srcli.frames.observation import Observation
from srcli.types import F32, F64, OWN_LOOK, U8, Action, EpisodeSpec, Execution, HeldExtent, Look, Phase, Reason, SceneTruth

if TYPE_CHECKING:
    from srcli.params import Params
    from srcli.sim import Camera, World


@dataclass(frozen=True, slots=True)
class Lying:
    """An object that lies in a zone.

    Attributes:
        slot: of the scene.
        name: of the catalogue.
        pose: (7,) of its centre of mass in the zone's frame, metres, quaternion xyzw.
    """

    slot: int
    name: str
    pose: F64


@dataclass(frozen=True, slots=True)
class Layout:
    """What a scene holds at a moment, the lowest things first. The simulator's knowledge, not for a method.

    Attributes:
        pick, place: in the zone that things are taken from, and in the one that they are put in; the same where there is only
            one zone; ``place`` is empty where nothing can be put down.
        held: name of what the gripper holds, or empty.
        plain: every object is the catalogue's own instance, so that names tell all of it.
    """

    pick: tuple[Lying, ...]
    place: tuple[Lying, ...]
    held: str
    plain: bool


@dataclass(frozen=True, slots=True)
class _Op:
    kind: Literal["act", "measure", "discard"]
    shift: float
    number: int
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class _State:
    """How far a session is: what was done, and what of it is known.

    Attributes:
        ops: all of it, in order: the simulation follows from them.
        number: of the next attempt.
        failed: poses that have physically failed since something was last taken or put.
        held: measured size of what is held, once it has been shown to the cameras.
    """

    ops: tuple[_Op, ...] = ()
    number: int = 0
    failed: tuple[F32, ...] = ()
    held: HeldExtent | None = None


class OpenScene:
    """A scene to which sentence after sentence is said.

    Args:
        episode: which scene; its own sentence is :attr:`sentence`, its goal counts for nothing.

    Raises:
        SetupError: the scene cannot be set up.
    """

    def __init__(self, params: Params, episode: SuiteEpisode) -> None:
        from srcli.sim import World
        from srcli.tasks import get_task

        self.key = episode.key
        self._task = get_task(episode.task, params.language)
        self._asked = episode.spec(self._task, params.scene)
        self._world: World = World(params.sim)
        self._context = EpisodeContext(
            self._world,
            self._task,
            own_sampler(params.candidates),
            default_placer(params.placements),
            None,
            None,
            False,
            None,
            None,
        )
        self._state = _State()
        self._past: list[_State] = []
        first = self._task.phases[0]
        self._pick_shift = self._task.shift(first)
        self._place_shift = self._task.shift("place") if "place" in self._task.phases else None
        try:
            self._spec: EpisodeSpec = self._set_up()
        except BaseException:
            self._world.close()
            raise

    def _set_up(self) -> EpisodeSpec:
        return set_up(self._world, self._task, self._asked, self._context.sampler)

    @property
    def sentence(self) -> str:
        """What the suite asks for in this scene."""
        return self._spec.instruction

    @property
    def task(self) -> str:
        """Name of the task that the scene was made for."""
        return self._task.name

    @property
    def places(self) -> bool:
        """Whether the scene has a zone to put things in."""
        return self._place_shift is not None

    @property
    def zones(self) -> int:
        """1 where things are taken and put in the same zone."""
        return 2 if self._place_shift is not None and self._place_shift != self._pick_shift else 1

    @property
    def holding(self) -> bool:
        """Whether the gripper holds something."""
        return self._world.held is not None

    @property
    def phase(self) -> Phase:
        """What can be done next."""
        return "place" if self.holding else "pick"

    @property
    def world(self) -> World:
        """The simulation, to be filmed; whoever has it may look but not touch."""
        return self._world

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the catalogue, one per slot. The simulator's knowledge, not for a method."""
        return self._spec.objects

    @property
    def looks(self) -> tuple[Look, ...]:
        """How the objects differ from the catalogue's, one per slot. The simulator's knowledge, not for a method."""
        return self._spec.looks

    def picture(self, camera: Camera) -> U8:
        """(H, W, 3) colours that a camera of one's own sees now."""
        return self._world.picture(camera)

    def layout(self) -> Layout:
        """What lies where now."""
        held = self._world.held
        return Layout(
            self._lying(self._pick_shift),
            () if self._place_shift is None else self._lying(self._place_shift),
            "" if held is None else self.names[held],
            all(own == OWN_LOOK for own in self._spec.looks),
        )

    def _lying(self, shift: float) -> tuple[Lying, ...]:
        truth = self._truth(shift)
        slots = [int(slot) for slot in np.flatnonzero(truth.present) if slot != self._world.held]
        slots.sort(key=lambda slot: float(truth.poses[slot, 2]))
        return tuple(Lying(slot, self.names[slot], truth.poses[slot]) for slot in slots)

    def _truth(self, shift: float) -> SceneTruth:
        before = self._world.shift
        self._world.enter_zone(shift)
        truth = self._world.truth(NO_IMAGE)
        self._world.enter_zone(before)
        return truth

    def remember(self) -> None:
        """From here on everything is taken back by one :meth:`undo`."""
        self._past.append(self._state)

    def forget(self) -> bool:
        """Whether nothing has been done since :meth:`remember`; then it is as if that had not been called."""
        if not self._past or self._past[-1] is not self._state:
            return False
        self._past.pop()
        return True

    def undo(self) -> None:
        """Go back to the last remembered moment: the scene is laid out anew and what was done before is done again.

        Raises:
            ConfigError: there is nothing to take back.
        """
        if not self._past:
            raise ConfigError("there is nothing to undo", "say a sentence first")
        self._state = self._past.pop()
        self._spec = self._set_up()
        for op in self._state.ops:
            self._do(op)

    def look(self) -> Observation:
        """What the cameras give now; where something is held it is shown to them first, and measured.

        Raises:
            SceneError: what was held has been lost, or cannot be put anywhere in this scene.
        """
        shift = self._pick_shift
        if self.holding:
            if self._place_shift is None:
                raise SceneError("this scene has no place to put things", "play --task pick_place")
            shift = self._place_shift
            if self._state.held is None:
                self._done(_Op("measure", shift, self._state.number))
                if self._state.held is None:
                    raise SceneError("what was held has been lost while it was shown to the cameras", "say what to take next")
        self._world.enter_zone(shift)
        state = self._state
        return look(self._world, self._spec.seed, state.number, self.key, state.held, state.failed)[0]

    def execute(self, action: Action) -> tuple[Execution, SceneTruth, SceneTruth]:
        """Carry out what was decided on :meth:`look`.

        Returns:
            What came of it, and the states before and after in the zone's frame (privileged, without images).
        """
        shift = self._world.shift
        before = self._world.truth(NO_IMAGE)
        execution = self._done(_Op("act", shift, self._state.number, action))
        assert execution is not None
        # A placement that loses what it holds ends the holding, too.
        if execution.reason is Reason.SUCCESS or (action.kind == "place" and not self.holding):
            self._state = replace(self._state, failed=(), held=None)
        else:
            self._state = replace(self._state, failed=(*self._state.failed, action.pose))
        self._state = replace(self._state, number=self._state.number + 1)
        return execution, before, self._world.truth(NO_IMAGE)

    def discard(self) -> None:
        """What is held leaves the scene.

        Raises:
            ConfigError: nothing is held.
        """
        if not self.holding:
            raise ConfigError("the gripper holds nothing", "say what to take")
        self._done(_Op("discard", self._world.shift, self._state.number))
        self._state = replace(self._state, held=None, failed=())

    def _done(self, op: _Op) -> Execution | None:
        found = self._do(op)
        self._state = replace(self._state, ops=(*self._state.ops, op))
        if isinstance(found, HeldExtent):
            self._state = replace(self._state, held=found)
        return found if isinstance(found, Execution) else None

    def _do(self, op: _Op) -> Execution | HeldExtent | None:
        self._world.enter_zone(op.shift)
        if op.action is not None:
            return self._world.execute(op.action)
        if op.kind == "measure":
            return self._context.measure(self._spec, op.number)
        self._world.discard()
        return None

    def close(self) -> None:
        """Ends the simulation."""
        self._world.close()

    def __enter__(self) -> OpenScene:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def labels(lying: Sequence[Lying]) -> list[str]:
    """What the objects are called, each once, with how many there are of it."""
    from srcli.objects import catalogue

    names = [catalogue()[item.name].label for item in lying]
    return [name if names.count(name) == 1 else f"{name} ({names.count(name)})" for name in sorted(set(names))]
