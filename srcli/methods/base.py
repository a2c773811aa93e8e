"""What a method is: a specification, and a policy that gets a decision and returns a choice.

A method is a folder (or a file) that declares one or several :class:`MethodSpec`; packages announce theirs through the
entry-point group ``srcli.methods``, this one included. What is heavy is named by ``"module:function"`` and imported when needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from srcli.config.base import Section
from srcli.errors import SceneError
from srcli.types import F32, Action, Bool, Candidates, EpisodeSpec, HeldExtent, Observation, Percept, Phase, SceneTruth

if TYPE_CHECKING:
    from srcli.artifacts.demos import DemoDataset
    from srcli.artifacts.features import FeatureDataset

Array = npt.NDArray[Any]
Fidelity = Literal["full", "reimplemented", "adapter"]
Reads = Literal["nothing", "demos", "features"]


def _none_repeats(poses: F32) -> Bool:
    return np.zeros(len(poses), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything that a method may look at before one attempt.

    Attributes:
        task: name of the task.
        candidates: K poses of the action prior, from the noisy views.
        excluded: (K,) True where the same pose has already failed in this episode.
        rng: the only source of chance a method may use.
        percept: semantic cloud and sentence, computed at the first call.
        moved: percept of a cloud whose points were moved before fusion, by so many metres along each axis and in directions of
            the generator given (the noise study); None where nothing can be perceived anew.
        held: measured size of what is to be placed; None in a pick phase.
        failed: poses (7,) that have physically failed in this phase before, in their order.
        repeats: which poses (S, 7) repeat such a failure, (S,) bool: what ``excluded`` is for candidates, for a method that
            brings its own poses.
        truth, spec: simulator state and goal; None unless the method declares itself privileged.
        valid: (K,) placements that are right; None in a pick phase, and unless the method declares itself privileged.
    """

    task: str
    phase: Phase
    instruction: str
    observation: Observation
    candidates: Candidates
    excluded: Bool
    rng: np.random.Generator
    percept: Callable[[], Percept]
    moved: Callable[[float, np.random.Generator], Percept] | None = None
    truth: SceneTruth | None = None
    spec: EpisodeSpec | None = None
    held: HeldExtent | None = None
    valid: Bool | None = None
    failed: tuple[F32, ...] = ()
    repeats: Callable[[F32], Bool] = _none_repeats

    def take(self, index: int) -> Action:
        """The action that executes candidate ``index``."""
        if self.excluded[index]:
            raise SceneError(f"candidate {index} is excluded: it has failed before", "choose among those not excluded")
        return Action(self.candidates.kind, self.candidates.poses[index], float(self.candidates.widths[index]), int(index))

    def best(self, scores: F32) -> int:
        """Index of the highest score (K,) among the candidates that are not excluded; the first of equals."""
        return int(np.argmax(np.where(self.excluded, -np.inf, scores)))


@dataclass(frozen=True, slots=True)
class Choice:
    """What a method decided.

    Attributes:
        action: a candidate taken, or a pose of the method's own (``index`` None).
        scores: (K,) score of each candidate, for pictures and analysis.
        mask: (N,) semantic weight of each point of the percept's cloud, 0..1.
        percept: cloud that the mask belongs to, for pictures; None: that of ``Decision.percept``.
    """

    action: Action
    scores: F32 | None = None
    mask: F32 | None = None
    percept: Percept | None = None


class Policy(Protocol):
    """A method ready to act. ``privileged`` ones are shown the simulator's truth, and their result rows say so."""

    @property
    def name(self) -> str: ...

    @property
    def privileged(self) -> bool: ...

    def act(self, decision: Decision) -> Choice: ...


class Acting(Protocol):
    """What ``build`` returns: whatever turns a decision into a choice. Its name and privilege stand in the specification."""

    def act(self, decision: Decision) -> Choice: ...


@dataclass(frozen=True, slots=True)
class Weights:
    """What a fitted method has learned, as its policy file holds it.

    Attributes:
        arrays: by parameter name.
        section: the settings that it was fitted with, as plain data.
        encoder: identity of the encoder whose features it learned from; empty where it reads none.
        training: how it was fitted: seed, updates, data, final numbers.
        source: the file, for messages.
    """

    arrays: Mapping[str, Array]
    section: Mapping[str, Any]
    encoder: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a method may be fitted on.

    Attributes:
        demos: demonstrations with images, candidates and choices; empty unless the specification reads ``demos``.
        features: fused features of the same decisions; None unless it reads ``features``.
    """

    demos: Sequence[DemoDataset] = ()
    features: FeatureDataset | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a fit gives back.

    Attributes:
        weights: arrays by parameter name (no slashes).
        curves: training curves by name, one value per record; ``update`` and ``train_loss`` are drawn where they are there.
        metrics: final numbers on the validation split; NaN for what does not exist.
        updates: made in all, those before an interruption included.
        samples: decisions of the training split.
        facts: what else the policy file has to record.
    """

    weights: Mapping[str, Array]
    curves: Mapping[str, Array] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    updates: int = 0
    samples: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


FitProgress = Callable[[int, int, str], None]
"""Called with updates made, updates in all, and what there is to say."""


class NoSettings(Section):
    """A method without parameters of its own."""


@dataclass(frozen=True)
class Part:
    """A part of a method that can be left out, to see what it is worth.

    Attributes:
        title: what it is, for tables.
        kind: of the paper, an addition of ours, or part of the rule that chooses.
        without: keys of the method's section and their values that leave it out.
        kept: the weights still fit: it can be left out of a fitted method without fitting anew.
        retrained: a method fitted without it is another one (False for what acts at test time only).
    """

    title: str
    kind: Literal["paper", "addition", "choice"]
    without: Mapping[str, Any]
    kept: bool = True
    retrained: bool = True


@dataclass(frozen=True)
class Study:
    """A question about a method with several values to compare.

    Attributes:
        question: one line.
        values: keys and their values by name of the value; the first is the reference. Keys are of the method's section, or, with
            a leading ``/``, of all parameters.
        needs: what has to be made anew for a value: training, features (and training), or nothing.
    """

    question: str
    values: Mapping[str, Mapping[str, Any]]
    needs: Literal["training", "features", "nothing"] = "training"


@dataclass(frozen=True)
class MethodSpec:
    """The declaration of a method. It imports nothing heavy.

    Attributes:
        name: identifier, as in ``-m NAME``: lower case, digits, underscores.
        title: as in tables.
        tasks: phases and tasks that it can do: pick, place, pick_place.
        build: ``"module:function"``, ``build(section, weights, encoder, device, seed) -> Acting``. ``section`` is the method's
            section of params.yaml with the preset of this identifier; ``weights`` what was fitted, or None: for a method that is
            fitted, None asks for an untrained one whose initial weights follow from ``seed``.
        fit: ``"module:function"``, ``fit(section, data, *, seed, device, checkpoint, progress) -> Fitted``; None: nothing to fit.
        reads: what ``fit`` needs.
        section: model of its section ``methods.<group>`` of params.yaml.
        group: name of that section; several identifiers of one folder share theirs. Empty: ``name``.
        preset: keys of the section that make this identifier what it is; they are not for the user to change.
        acts_with: top-level keys of the section that matter when a fitted method acts; the rest belongs to its weights.
        learned_only: keys that let what was learned choose alone, without rules beside it (studies compare networks so).
        fidelity: full: the system as its source has it; reimplemented: from its description; adapter: changed or extended.
        source: paper, equation, repository.
        privileged: it is shown the simulator's truth.
        adopt: ``"module:function"``, given a policy file of the first version: its section as plain data if it holds this method,
            or None.
        absent: names of parts that this identifier does not have, among those that its folder can bypass.
        paper_row: what the paper's tables call the system that this one stands for; empty where they have none.
        weights_of: identifier whose policies this one acts with, choosing by other keys of ``acts_with``; empty: its own.
        shares: files of the package, e.g. ``methods/keypose.py``, that it uses and that not every method goes through: its
            episodes depend on their code, too.
        parts, studies: ``"module:NAME"`` of a mapping of :class:`Part` or :class:`Study` by name.
    """

    name: str
    title: str
    tasks: frozenset[str]
    build: str
    fit: str | None = None
    reads: Reads = "nothing"
    section: type[Section] = NoSettings
    group: str = ""
    preset: Mapping[str, Any] = field(default_factory=dict)
    acts_with: tuple[str, ...] = ()
    learned_only: Mapping[str, Any] = field(default_factory=dict)
    fidelity: Fidelity = "reimplemented"
    source: str = ""
    privileged: bool = False
    adopt: str | None = None
    absent: tuple[str, ...] = ()
    paper_row: str = ""
    weights_of: str = ""
    shares: tuple[str, ...] = ()
    parts: str | None = None
    studies: str | None = None

    @property
    def key(self) -> str:
        """Name of its section below ``methods``."""
        return self.group or self.name

    @property
    def fitted_as(self) -> str:
        """Identifier of the policies that it acts with."""
        return self.weights_of or self.name


EVERY_TASK = frozenset({"pick", "place", "pick_place"})


class Build(Protocol):
    """Signature of ``MethodSpec.build``."""

    def __call__(self, section: Any, weights: Weights | None, encoder: Any, device: str, seed: int) -> Acting: ...


class Fit(Protocol):
    """Signature of ``MethodSpec.fit``."""

    def __call__(
        self, section: Any, data: TrainingData, *, seed: int, device: str, checkpoint: Path, progress: FitProgress | None
    ) -> Fitted: ...
