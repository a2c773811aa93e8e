"""The environment: an episode of a task, its sentence, its scene, one action an attempt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from srcli.envs.actions import ACTIONS, Poses, take
from srcli.envs.numbers import check_suite, named, numbered
from srcli.envs.observations import SHAPES, Arrays, make_observer, most_candidates
from srcli.envs.stepping import Stepper, View, shared_encoder
from srcli.errors import ConfigError, unknown_name
from srcli.evaluation.candidate_slots import candidate_slots
from srcli.evaluation.casefiles import read_cases_folder
from srcli.evaluation.casewords import FileCase
from srcli.evaluation.methods import Method, method_sections, resolve_methods
from srcli.params import Params
from srcli.params.loading import load_params, override
from srcli.types import U8

if TYPE_CHECKING:
    from srcli.evaluation.attempt import EpisodeRecord
    from srcli.evaluation.suites import SuiteEpisode

_OPTIONS = ("case", "repeat", "suite", "split")
_FRAME_RATE = 4


class GraspEnv(gymnasium.Env[Arrays, Any]):
    """One episode of an evaluation, attempt by attempt.

    An action is one attempt: a grasp, or a placement. The reward is 1 when the episode reaches its goal and else 0. It is
    terminated by success and where nothing is left to gain, truncated when the attempts of picking are used up. An action that
    is no candidate (:meth:`action_masks`), or no pose, moves nothing and counts as a failed attempt.

    Args:
        task: name of the task.
        observation: ``features``, ``images`` or ``lerobot`` (:mod:`srcli.envs.observations`).
        action: ``candidate`` (Discrete), ``pose`` (8 numbers in [-1, 1]) or ``metres`` (the same, unscaled).
        suite, split, wording: which episodes :meth:`reset` counts; ``suite="train"`` are those of ``srcli collect``.
        root: root seed; None: that of the parameters.
        params: a params.yaml; None: the defaults, whatever the working directory holds.
        settings: dotted keys and values that override it, e.g. ``{"scene.objects": 5}``.
        cases: folder of case files of your own, for the option ``case`` of :meth:`reset`.
        privileged: tell in ``info`` what only the simulator knows.
        depth: with ``images``, depth in metres beside the colours.
        flat: arrays of two axes as vectors.
        device: where the encoder and learned methods run.
        render_mode: ``rgb_array``: a camera in front of the table; None.

    Raises:
        ConfigError: an option or a setting is unknown or out of range.
        UnknownNameError: no such suite, split or task.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": _FRAME_RATE}  # noqa: RUF012

    def __init__(
        self,
        task: str,
        *,
        observation: str = "features",
        action: str = "candidate",
        suite: str = "development",
        split: str = "seen",
        wording: str = "train",
        root: int | None = None,
        params: str | Path | None = None,
        settings: Mapping[str, Any] | None = None,
        cases: str | Path | None = None,
        privileged: bool = False,
        depth: bool = False,
        flat: bool = True,
        device: str = "cpu",
        render_mode: str | None = None,
    ) -> None:
        _one_of("observation", observation, SHAPES)
        _one_of("action", action, ACTIONS)
        _one_of("wording", wording, ("train", "heldout"))
        if render_mode is not None:
            _one_of("render mode", render_mode, self.metadata["render_modes"])
        check_suite(suite, split, task)
        self.params = _params(params, settings)
        self.render_mode = render_mode
        self.task = task
        self._suite, self._split, self._wording, self._device = suite, split, wording, device
        self._root = self.params.seed if root is None else int(root)
        if self._root < 0:
            raise ConfigError(f"root is {self._root}", "a root seed is a whole number from 0")
        self._cases: tuple[FileCase, ...] = () if cases is None else read_cases_folder(Path(cases)).cases
        self._privileged = privileged
        encoder = shared_encoder(self.params.encoder.model_dump_json(), device)
        self.stepper = Stepper(self.params, task, encoder)
        self._observer = make_observer(cast("Any", observation), self.params, encoder, task, depth, flat)
        self._most = most_candidates(self.params, task)
        candidates = self.params.candidates
        self._poses = None if action == "candidate" else Poses(candidates.lower, candidates.upper, action == "metres")
        self.observation_space = self._observer.space
        self.action_space = cast("spaces.Space[Any]", spaces.Discrete(self._most) if self._poses is None else self._poses.space)
        phases = self.stepper.task.phases
        # LeRobot asks for it.
        self._max_episode_steps = sum(
            self.params.evaluate.attempts if phase == "pick" else self.stepper.task.attempts(phase) for phase in phases
        )
        self._episode: SuiteEpisode | None = None
        self._view: View | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Arrays, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: number of the episode in the suite and split, from 0; beyond the suite's end it begins again. Without a seed
                the number is drawn by the environment's own generator.
            options: ``case`` (a name, or the key of any episode) with ``repeat`` from 1; or another ``suite`` or ``split``.

        Raises:
            UnknownNameError: no such case, suite or split.
            ConfigError: an unknown option, or a case of another task.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        for name in given:
            _one_of("option of reset", name, _OPTIONS)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        if "case" in given and (others := sorted({"suite", "split"} & set(given))):
            raise ConfigError(f"option {others[0]} of reset beside case: a case is one episode", "leave one of the two out")
        if "repeat" in given and "case" not in given:
            raise ConfigError("option repeat of reset without case: a seed is one episode", "give the case, or another seed")
        if "case" in given:
            repeat = given.get("repeat", 1)
            if not isinstance(repeat, int):
                raise ConfigError(f"option repeat of reset: {repeat!r} is no whole number", "repeats are counted from 1")
            self._episode = named(str(given["case"]), repeat, self._root, self.task, self._cases)
        else:
            suite, split = str(given.get("suite", self._suite)), str(given.get("split", self._split))
            self._episode = numbered(suite, split, self._wording, self._root, self.task, number)
        spec = self._episode.spec(self.stepper.task, self.params.scene)
        self._view = self.stepper.begin(spec)
        return self._observer(self._view), self._info({})

    def step(self, action: Any) -> tuple[Arrays, float, bool, bool, dict[str, Any]]:
        """Make one attempt."""
        if self._view is None:
            raise ConfigError("no episode has begun, or the last one is over", "call reset first")
        before, count = self._view, len(self.stepper.attempts)
        choice = take(action, before) if self._poses is None else self._poses.decode(action, before)
        view = self.stepper.act(choice)
        ended = self.stepper.ended
        told: dict[str, Any] = {"invalid": before.given is not None and choice is None}
        if before.given is not None:
            # What was lost on the way to the next phase stands behind it.
            attempt = self.stepper.attempts[count]
            told["reason"] = attempt.outcome.reason.value
            if self._privileged:
                slot = attempt.outcome.slot
                told["object"] = "" if slot is None else self.stepper.spec.objects[slot]
        self._view = view
        info = self._info(told)
        observation = self._observer(view)
        if ended is not None:
            self._view = None
        success = ended is not None and ended.success
        spent = ended is not None and ended.spent
        return observation, float(success), ended is not None and not spent, spent, info

    def render(self) -> Any:
        """(360, 640, 3) uint8: the cell as a camera in front of the table sees it, for ``render_mode="rgb_array"``."""
        if self.render_mode is None or self._episode is None:
            return None
        from srcli.reporting.film import film_camera

        picture: U8 = self.stepper.world.picture(film_camera(wide=len(set(self.stepper.spec.shifts)) > 1))
        return picture

    def close(self) -> None:
        """End the simulation; a later reset starts another."""
        self.stepper.close()
        self._view = self._episode = None

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """(K,) True for candidates that can be taken now; what sb3-contrib's MaskablePPO asks for."""
        mask = np.zeros(self._most, dtype=np.bool_)
        if self._view is not None and self._view.given is not None:
            mask[: len(self._view.candidates)] = ~self._view.given.excluded
        return mask

    @property
    def instruction(self) -> str:
        """The sentence of the episode; empty before the first."""
        return "" if self._episode is None else self.stepper.spec.instruction

    @property
    def task_description(self) -> str:
        """The sentence, by the name that LeRobot asks for."""
        return self.instruction

    @property
    def record(self) -> EpisodeRecord | None:
        """The finished episode, as an evaluation records it; None while it lasts."""
        return self.stepper.record

    def player(self, method: str) -> Callable[[dict[str, Any]], Any]:
        """A method of ``srcli methods`` as an agent of this environment: a function from ``info`` to an action.

        Args:
            method: ``NAME``, ``NAME=FILE`` with a policy of your own, or ``untrained:NAME``.

        Raises:
            UnknownNameError, MissingAssetError, MismatchError: as for ``srcli evaluate -m``.
        """
        name, _, file = method.partition("=")
        files = [method] if file else []
        found: Method = resolve_methods([name], files, method_sections(self.params.methods), self.params.encoder)[0]
        policy = found.build(self.stepper.encoder, self._device)

        def act(_: dict[str, Any]) -> Any:
            choice = self.stepper.ask(policy)
            if self._poses is not None:
                # A vector whose quaternion is zero moves nothing.
                nothing = np.zeros(8, dtype=np.float32)
                return nothing if choice is None else self._poses.encode(choice.action)
            if choice is None:
                return np.int64(0)
            if choice.action.index is None:
                raise ConfigError(f"'{method}' brings poses of its own", 'make the environment with action="pose"')
            return np.int64(choice.action.index)

        return act

    def _info(self, told: dict[str, Any]) -> dict[str, Any]:
        assert self._view is not None and self._episode is not None
        view, ended = self._view, self.stepper.ended
        info: dict[str, Any] = {
            "instruction": self.stepper.spec.instruction,
            "key": self._episode.key,
            "case": self.stepper.spec.case,
            "split": self._episode.split,
            "phase": view.phase,
            "action_mask": self.action_masks(),
            "is_success": ended is not None and ended.success,
            **told,
        }
        if ended is not None:
            info["ended"] = ended.why
        if self._privileged:
            info |= self._secrets(view)
        return info

    def _secrets(self, view: View) -> dict[str, Any]:
        spec = self.stepper.spec
        valid = np.zeros(self._most, dtype=np.bool_)
        if view.given is not None and len(view.candidates):
            right = view.given.valid
            if right is None:
                slots = candidate_slots(view.observation, view.truth.segmentation, view.candidates)
                right = self.stepper.task.valid(spec, view.truth, view.candidates, view.phase, slots=slots)
            valid[: len(right)] = right
        return {
            "valid": valid,
            "objects": list(spec.objects),
            "targets": list(spec.goal.targets),
            "references": list(spec.goal.references),
            "poses": view.truth.poses.copy(),
        }


def _one_of(what: str, value: str, known: tuple[str, ...] | list[str]) -> None:
    if value not in known:
        found = unknown_name(what, value, known)
        raise ConfigError(found.message, found.hint)


def _params(file: str | Path | None, settings: Mapping[str, Any] | None) -> Params:
    params = Params() if file is None else load_params(Path(file))
    # Through JSON, as a spec of gymnasium is stored: tuples come back as lists.
    return override(params, json.loads(json.dumps(dict(settings), default=_plain)), "settings") if settings else params


def _plain(value: Any) -> Any:
    """What JSON can hold of a value that it does not know: numbers and lists of numpy's, everything else as words."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
