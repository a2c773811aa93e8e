"""An episode attempt by attempt, for choices that come from outside. Its rules are those of ``evaluation.rollout``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from srcli.errors import SceneError
from srcli.evaluation.attempt import (
    AttemptInput,
    AttemptRecord,
    EpisodeContext,
    EpisodeRecord,
    LazyPercept,
    default_placer,
    own_sampler,
    source_of,
)
from srcli.evaluation.plan import make_setup
from srcli.evaluation.rollout import NOT_SET_UP, End, EpisodeState, EpisodeTree, SetupError, set_up
from srcli.language.instructions import make_reader
from srcli.methods.base import Choice, Decision, Policy
from srcli.perception.pipeline import sentence
from srcli.seeding import OBSERVE, generator
from srcli.types import Candidates, EpisodeSpec, Observation, Percept, Phase, SceneTruth, TextEmbedding

if TYPE_CHECKING:
    from srcli.params import Params
    from srcli.perception.encoders.interface import Encoder
    from srcli.sim import World
    from srcli.tasks import Task


@dataclass(frozen=True, slots=True)
class Ended:
    """How an episode ended.

    Attributes:
        success: its last phase succeeded.
        why: of an early end, ``no target left`` or ``not set up``; else empty.
        spent: the attempts of picking are used up.
    """

    success: bool
    why: str
    spent: bool


@dataclass(frozen=True, slots=True)
class View:
    """What the cameras see before an attempt or after the last one.

    Attributes:
        given: the attempt that can be made now; None when the episode is over.
        candidates: what it offers; none when the episode is over.
        percept: the semantic cloud, computed when it is asked for; None where nothing is left to be seen.
        text: the sentence's half of the phase in the joint space.
        left: share of the phase's attempts that is left, 0 to 1.
    """

    phase: Phase
    observation: Observation
    truth: SceneTruth
    candidates: Candidates
    percept: Callable[[], Percept | None]
    text: Callable[[], TextEmbedding]
    given: AttemptInput | None
    left: float


class _Outside:
    """Stands where a policy does: choices come from outside."""

    name = "outside"
    privileged = False

    def act(self, decision: Decision) -> Choice:
        raise NotImplementedError


@lru_cache(maxsize=2)
def shared_encoder(config: str, device: str) -> Encoder:
    """One encoder for all environments of a process.

    Args:
        config: section ``encoder`` as JSON.
    """
    from srcli.config.encoder import EncoderConfig
    from srcli.perception.encoders.loading import load_encoder

    return load_encoder(EncoderConfig.model_validate_json(config), device)


class Stepper:
    """A world in which one episode after the other is played. The world is made when the first one begins.

    Args:
        params: parameters of an evaluation; its attempts and its disturbance of actions count here, too.
        task: name of the task.
        encoder: for the percept.
        record: keep what was seen in the attempts.
    """

    def __init__(self, params: Params, task: str, encoder: Encoder, record: bool = False) -> None:
        from srcli.tasks import get_task

        self.params, self.encoder = params, encoder
        self.task: Task = get_task(task, params.language)
        self.record: EpisodeRecord | None = None
        self.ended: Ended | None = None
        self._recording = record
        self._perturb = make_setup(params, (), (task,)).perturb
        self._reader = make_reader(encoder.vocabulary, params.language)
        self._world: World | None = None
        self._tree: EpisodeTree[EpisodeRecord] | None = None
        self._state = EpisodeState()
        self._given: AttemptInput | None = None

    @property
    def world(self) -> World:
        """The simulated cell."""
        if self._world is None:
            from srcli.sim import World

            self._world = World(self.params.sim)
        return self._world

    @property
    def spec(self) -> EpisodeSpec:
        """What is played, with the drops that were used."""
        assert self._tree is not None
        return self._tree.spec

    @property
    def attempts(self) -> list[AttemptRecord]:
        """What was done so far in this episode."""
        return self._state.attempts.get(0, [])

    def begin(self, spec: EpisodeSpec) -> View:
        """Build the scene of an episode and look at it. One that cannot be played is over at once (:attr:`ended`)."""
        params = self.params
        context = EpisodeContext(
            self.world,
            self.task,
            source_of(params.candidates, spec),
            default_placer(params.placements),
            params.cloud,
            self.encoder,
            self._recording,
            None,
            self._perturb,
            self._reader,
        )
        self._state, self.record, self.ended, self._given = EpisodeState(), None, None, None
        self._tree = EpisodeTree(context, spec, [_Outside()], lambda _, episode: episode, params.evaluate.attempts)
        try:
            built = set_up(self.world, self.task, spec, own_sampler(params.candidates))
        except SetupError:
            self._over(End(False, NOT_SET_UP))
            return self._view()
        self._tree = EpisodeTree(context, built, self._tree.policies, self._tree.finish, self._tree.max_attempts)
        return self._look()

    def act(self, choice: Choice | None) -> View:
        """Make an attempt and look again.

        Args:
            choice: None: nothing moves, and the attempt counts as failed.
        """
        assert self._tree is not None
        if self._given is None:
            # What could not be played from the start.
            return self._view()
        ended = self._tree.act([0], self._state, self._given, {0: choice})
        if ended is not None:
            self._over(ended)
            return self._view()
        return self._look()

    def ask(self, policy: Policy) -> Choice | None:
        """What a method would choose now; None when there is nothing to choose from. Only privileged ones are shown the truth."""
        if self._tree is None or self._given is None:
            return None
        return self._tree.context.decide(self.spec, policy, self._given)

    def close(self) -> None:
        """End the simulation."""
        if self._world is not None:
            self._world.close()
            self._world = None

    def _look(self) -> View:
        assert self._tree is not None
        found = self._tree.next_input([0], self._state)
        if isinstance(found, End):
            self._over(found)
        else:
            self._given = found
        return self._view()

    def _over(self, end: End) -> None:
        assert self._tree is not None
        phases, state = self.task.phases, self._state
        picking = state.phase < len(phases) and phases[state.phase] == "pick"
        spent = picking and not end.success and not end.why
        self.ended = Ended(end.success, end.why, spent)
        self._given = None
        self.record = self._tree.end(0, state, end)

    def _view(self) -> View:
        assert self._tree is not None
        context, state, spec, given = self._tree.context, self._state, self.spec, self._given
        phase = self.task.phases[min(state.phase, len(self.task.phases) - 1)]
        cloud = self.params.cloud
        text = partial(sentence, context.read(spec.instruction), self.encoder, phase, cloud.denied)
        if given is not None:
            most = self.params.evaluate.attempts if phase == "pick" else self.task.attempts(phase)
            left = 1.0 - state.tries / max(most, 1)
            return View(phase, given.observation, given.truth, given.candidates, partial(_seen, given.percept), text, given, left)
        observation, segmentation = self.world.observe(generator(spec.seed, state.number, OBSERVE))
        none = np.zeros(0, dtype=np.float32)
        nothing = Candidates(np.zeros((0, 7), dtype=np.float32), none, none, "grasp" if phase == "pick" else "place")
        percept = LazyPercept(observation, context.read(spec.instruction), self.encoder, cloud, phase)
        return View(phase, observation, self.world.truth(segmentation), nothing, partial(_seen, percept), text, None, 0.0)


def _seen(percept: Callable[[], Percept]) -> Percept | None:
    # An empty table has no cloud.
    try:
        return percept()
    except SceneError:
        return None
