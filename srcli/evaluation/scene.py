"""One episode from outside: a loop of one's own observes, acts and is told what came of it, as an evaluation would play it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from srcli.errors import SceneError
from srcli.evaluation.attempt import AttemptInput, EpisodeContext, LazyPercept, default_placer, own_sampler
from srcli.evaluation.decision import Decision
from srcli.evaluation.rollout import NO_TARGET, set_up
from srcli.evaluation.suites import SuiteEpisode
from srcli.frames.observation import Observation
from srcli.frames.placing import CELL
from srcli.methods.base import Choice
from srcli.seeding import OBSERVE, generator
from srcli.types import F32, Action, Candidates, EpisodeSpec, HeldExtent, Phase, Reason, SceneTruth

if TYPE_CHECKING:
    from srcli.params import Params
    from srcli.sim import World

_NONE = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Step:
    """What came of one action.

    Attributes:
        success: the phase's goal was reached.
        reason: how the attempt ended: success, wrong_object, nothing_held, slipped, collision, no_ik, no_candidate, wrong_region,
            dropped.
        object: what was held or released; empty: nothing.
        done: the episode is over.
    """

    success: bool
    reason: str
    object: str
    done: bool


def look(
    world: World, seed: tuple[int, ...], number: int, source: str, held: HeldExtent | None, failed: Sequence[F32]
) -> tuple[Observation, SceneTruth]:
    """What the cameras give of the zone looked at, before an attempt, and the state that belongs to it (privileged).

    Args:
        seed, number: of the episode and the attempt; they draw the sensor noise.
        source: what the scene is called.
        held: size of what is to be placed; None before a grasp.
        failed: poses that have been tried and failed.
    """
    views, segmentation = world.observe(generator(seed, number, OBSERVE))
    seen = Observation(
        views.rgb,
        views.depth,
        views.K,
        views.T_world_cam,
        names=tuple(camera.name for camera in world.cameras),
        workspace=CELL,
        held=held,
        failed=tuple(failed),
        seed=seed,
        attempt=number,
        shift=world.shift if held is not None else 0.0,
        T_cell_world=np.eye(4),
        source=source,
    )
    return seen, world.truth(segmentation)


class Scene:
    """A simulated scene with a sentence, played attempt by attempt by the rules of ``srcli evaluate``: what was taken by mistake
    is removed, poses that have failed are left out, a task of two phases goes on with its placement.

    Args:
        episode: which.

    Raises:
        SetupError: the episode cannot be set up.
    """

    def __init__(self, params: Params, episode: SuiteEpisode) -> None:
        from srcli.sim import World
        from srcli.tasks import get_task

        self.key = episode.key
        self._world = World(params.sim)
        self._task = get_task(episode.task, params.language)
        grasps = own_sampler(params.candidates)
        perturb = params.evaluate.perturb
        placer = default_placer(params.placements)
        self._context = EpisodeContext(
            self._world, self._task, grasps, placer, None, None, False, None, perturb if perturb.disturbs else None
        )
        try:
            self._spec: EpisodeSpec = set_up(self._world, self._task, episode.spec(self._task, params.scene), grasps)
        except BaseException:
            self._world.close()
            raise
        self._limit = params.evaluate.attempts
        self._phase, self._entered, self._tries, self._number = 0, False, 0, 0
        self._failed: list[F32] = []
        self._held: HeldExtent | None = None
        self._seen: Observation | None = None
        self._truth: SceneTruth | None = None
        self.done, self.success = False, False
        self.ended = ""
        self.steps: list[Step] = []
        self._advance()

    @property
    def sentence(self) -> str:
        """What is asked for."""
        return self._spec.instruction

    @property
    def task(self) -> str:
        """Name of the task."""
        return self._task.name

    @property
    def phase(self) -> Phase:
        """What is to be done now."""
        return self._task.phases[min(self._phase, len(self._task.phases) - 1)]

    @property
    def objects(self) -> tuple[str, ...]:
        """What the scene holds. The simulator's knowledge, not for a method."""
        return self._spec.objects

    @property
    def targets(self) -> tuple[str, ...]:
        """What counts as right: to be picked, or in a placement to be placed at. The simulator's knowledge, not for a method."""
        goal = self._spec.goal
        slots = goal.targets if self.phase == "pick" else goal.references
        return tuple(self._spec.objects[slot] for slot in slots)

    def observe(self) -> Observation:
        """What the cameras give before the next attempt, with what is held and what has failed; the same until something is done.

        Raises:
            SceneError: the episode is over.
        """
        if self._seen is None:
            raise SceneError(f"the episode is over: {self.ended or 'all attempts are used up'}", "make another scene")
        return self._seen

    def execute(self, action: Decision | Action | None) -> Step:
        """Carry out what was decided and judge it.

        Args:
            action: a decision on :meth:`observe`, an action of one's own (world frame), or None: an attempt without any.

        Raises:
            SceneError: the episode is over, or the action is not one for this phase.
        """
        seen, truth = self.observe(), self._truth
        assert truth is not None
        choice = _choice(action)
        if choice is not None:
            _check(choice.action, self.phase)
        phase = self.phase
        candidates = Candidates(np.zeros((0, 7), dtype=np.float32), _NONE, _NONE, "place" if phase == "place" else "grasp")
        lazy = LazyPercept(seen, self.sentence, None, None, phase)
        given = AttemptInput(phase, self._number, seen, truth, candidates, np.zeros(0, dtype=np.bool_), None, self._held, lazy)
        execution, outcome = self._context.act(self._spec, given, choice)
        self._number += 1
        self._tries += 1
        self._seen = None
        if outcome.success:
            self._next_phase()
        else:
            if phase == "pick" and execution.reason is Reason.SUCCESS:
                self._world.discard()
            elif choice is not None:
                self._failed.append(choice.action.pose)
            most = self._limit if phase == "pick" else self._task.attempts(phase)
            self.done = self._tries >= most
        if not self.done:
            self._advance()
        name = "" if outcome.slot is None else self._spec.objects[outcome.slot]
        step = Step(outcome.success, outcome.reason.value, name, self.done)
        self.steps.append(step)
        return step

    def _next_phase(self) -> None:
        self._phase += 1
        self._entered, self._tries, self._failed, self._held = False, 0, [], None
        self.done = self.success = self._phase == len(self._task.phases)

    def _advance(self) -> None:
        """Look at the scene before the next attempt; the episode may end here."""
        phase = self.phase
        shift = self._task.shift(phase)
        if not self._entered:
            self._entered = True
            self._world.enter_zone(shift)
            if phase == "place":
                self._held = self._context.measure(self._spec, self._number)
                if self._held is None:
                    self.done, self.ended = True, "what was held has been dropped"
                    return
        seen, self._truth = look(self._world, self._spec.seed, self._number, self.key, self._held, self._failed)
        if not self._task.possible(self._spec, self._truth, phase):
            self.done, self.ended = True, NO_TARGET
            return
        self._seen = seen

    def close(self) -> None:
        """Ends the simulation."""
        self._world.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _choice(action: Decision | Action | None) -> Choice | None:
    if action is None or isinstance(action, Decision):
        return None if action is None else action.choice
    return Choice(action)


def _check(action: Action, phase: Phase) -> None:
    kind = "place" if phase == "place" else "grasp"
    if action.kind != kind:
        raise SceneError(f"a {action.kind} was given, now a {kind} is asked for", "scene.phase says what is to be done")
    pose = np.asarray(action.pose)
    if pose.shape != (7,) or not bool(np.isfinite(pose).all()) or abs(float(np.linalg.norm(pose[3:])) - 1.0) > 1e-2:
        raise SceneError(f"{pose.tolist()} is no pose", "x, y, z in metres and a unit quaternion xyzw are expected")
