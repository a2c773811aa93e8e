"""One decision outside of an episode: views and a sentence in, what an episode's attempt would choose out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from srcli.actions.sources import check_source, grasp_source, use_device
from srcli.config.candidates import CandidateConfig
from srcli.config.cloud import CloudConfig
from srcli.config.placements import PlacementConfig
from srcli.errors import ConfigError
from srcli.evaluation.apparent import magnification, resampled
from srcli.evaluation.attempt import LazyPercept, default_placer, own_sampler
from srcli.evaluation.decision import Decision, moved_poses
from srcli.evaluation.exclusion import exclude
from srcli.evaluation.methods import Method, check_tasks
from srcli.evaluation.understanding import Listener, Understood
from srcli.frames.observation import Observation, Workspace, of_views
from srcli.frames.placing import CELL, in_cell, placed
from srcli.methods.base import Decision as Given
from srcli.seeding import DECIDE, PROPOSE, generator
from srcli.types import F32, Candidates, Phase
from srcli.types import Observation as Views

if TYPE_CHECKING:
    from srcli.params import Params

Boxed = TypeVar("Boxed", CloudConfig, CandidateConfig, PlacementConfig)


class Decider:
    """A method with its encoder, ready to decide from any views.

    Raises:
        ConfigError: the method is shown the simulator's truth, which a recording has not.
        MissingAssetError, MismatchError, ArtifactError: its encoder or its policy cannot be used.
    """

    def __init__(self, params: Params, method: Method, device: str = "cpu") -> None:
        from srcli.perception.encoders.loading import load_encoder

        if method.privileged:
            raise ConfigError(
                f"method '{method.label}' decides by the simulator's truth, which recorded frames have not",
                "choose one that looks at the views: srcli methods",
            )
        check_source(params.candidates)
        use_device(device)
        self.params, self.method = params, method
        self.encoder = load_encoder(params.encoder, device)
        self.listener = Listener(self.encoder, params.language, params.cloud.denied)
        self.policy = method.build(self.encoder, device)
        self._samplers: dict[str, Callable[[Views], Candidates]] = {}

    def __call__(self, observation: Views, sentence: str) -> Decision:
        """What the method chooses.

        Args:
            observation: views; what has not been placed yet is checked and placed first.

        Raises:
            ConfigError: an empty sentence, or the method cannot do what is asked for.
            SceneError: the views cannot be used.
        """
        if not sentence.strip():
            raise ConfigError("the sentence is empty", 'say what to do, for example: srcli decide FOLDER "give me the apple"')
        with self._arithmetic():
            return self._decision(observation, sentence)

    def understand(self, sentence: str, names: int = 3) -> Understood:
        """What is taken from a sentence, with that many names; the bits of its embedding are those that decisions have."""
        with self._arithmetic():
            return self.listener(sentence, names)

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        """torch's number of threads for all of a decision.

        With the embedded encoder one, as in an evaluation's worker, whose bits it then has; one core is left to the candidates
        with others (measured: with all cores each waits for the other).
        """
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1 if self.params.encoder.name == "embedded" else max(1, before - 1))
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _decision(self, observation: Views, sentence: str) -> Decision:
        seen = of_views(observation)
        if seen.T_cell_world is None:
            seen = placed(seen)
        phase: Phase = "pick" if seen.held is None else "place"
        check_tasks([self.method], [phase])
        views, box = in_cell(seen)
        read = resampled(views, magnification(views, box, self.params.sim.camera_scale))
        reading = self.listener.read(sentence)
        percept = LazyPercept(read, reading.text, self.encoder, _within(self.params.cloud, box), phase)
        with ThreadPoolExecutor(1) as pool:
            # Candidates come from the depth, the cloud from the colours: neither waits for the other. What cannot be perceived
            # is the error of a method that looks at it.
            pool.submit(percept)
            candidates = self._candidates(seen, read, box)
        failed = _failed(seen)
        excluded = exclude(candidates.poses, failed)
        choice = None
        if not excluded.all():
            choice = self.policy.act(
                Given(
                    task=phase,
                    phase=phase,
                    instruction=sentence,
                    observation=read,
                    candidates=candidates,
                    excluded=excluded,
                    rng=generator(seen.seed, seen.attempt, DECIDE),
                    percept=percept,
                    moved=percept.moved,
                    held=seen.held,
                    failed=failed,
                    repeats=partial(exclude, failed=failed),
                )
            )
        understood = self.listener(sentence, 3)
        doubts = _doubts(understood, phase)
        return Decision(
            sentence=sentence,
            method=self.method.label,
            observation=seen,
            views=views,
            candidates=candidates,
            excluded=excluded,
            choice=choice,
            percept=percept.value,
            reading=reading,
            understood=understood,
            notes=(*seen.notes, *doubts),
            guess=bool(doubts),
        )

    def _candidates(self, seen: Observation, views: Views, box: Workspace) -> Candidates:
        if seen.held is not None:
            config = _within(self.params.placements, box).model_copy(update={"shift": seen.shift})
            return default_placer(config)(views, seen.held, generator(seen.seed, seen.attempt, PROPOSE))
        grasping = _within(self.params.candidates, box)
        key = grasping.model_dump_json()
        if key not in self._samplers:
            own = grasping.source == "sampler"
            self._samplers[key] = own_sampler(grasping) if own else grasp_source(grasping.source, grasping)
        return self._samplers[key](views)


def _failed(seen: Observation) -> tuple[F32, ...]:
    """Poses that have failed before, in the frame of the cell."""
    transform = np.eye(4) if seen.T_cell_world is None else seen.T_cell_world
    return tuple(moved_poses(np.asarray(pose)[None], transform)[0].astype(np.float32) for pose in seen.failed)


def _within(config: Boxed, box: Workspace) -> Boxed:
    """The section with the workspace of a recording; as it is where that is the cell's own."""
    return config if box == CELL else config.model_copy(update={"lower": box.lower, "upper": box.upper})


def _doubts(understood: Understood, phase: Phase) -> list[str]:
    """What makes the choice a guess."""
    if not understood.something:
        return ["understood nothing of the sentence: what is chosen is a guess"]
    half = understood.pick if phase == "pick" else understood.place
    if half is None and phase == "pick":
        return ["the sentence names nothing to pick; for a placement say what is held (--held)"]
    if half is None:
        return ["the sentence says nothing of where to put it"]
    return ["no name is close to what the sentence asks for: what is chosen is a guess"] if understood.guess else []
