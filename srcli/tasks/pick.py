"""Picking by a sentence out of a cluttered pile."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from srcli.config.language import LanguageConfig
from srcli.config.scene import SceneConfig
from srcli.errors import ConfigError, unknown_name
from srcli.language import could_mean, draw_keyword, keyword_table, pick_instruction
from srcli.language.phrases import Phrase, PhraseKind, phrase_instruction, phrase_kind
from srcli.language.templates import KINDS, KeywordKind
from srcli.seeding import SCENE, generator
from srcli.tasks.base import Case
from srcli.tasks.draws import draw_names, pile_drops, pool_of, split_names, split_of_pool
from srcli.types import (
    I32,
    Action,
    Bool,
    Candidates,
    EpisodeSpec,
    Execution,
    Goal,
    HeldExtent,
    Outcome,
    Phase,
    Reason,
    SceneTruth,
)


class PickTask:
    """Within 8 attempts, lift and hold any object that the sentence stands for (protocol of A2)."""

    name = "pick"
    phases: tuple[Phase, ...] = ("pick",)

    def __init__(self, language: LanguageConfig | None = None) -> None:
        self._language = language or LanguageConfig()

    def attempts(self, phase: Phase) -> int:
        """Eight attempts, as in A2 and the paper."""
        return 8

    def sample(self, seed: tuple[int, ...], split: str, wording: str, config: SceneConfig) -> EpisodeSpec:
        """A scene of one split with a generated sentence.

        Of the objects that fit the keyword all are placed, or a random few when there are many. The others are drawn from
        the objects of the split that nobody could take for the keyword: all different while they last, then again.

        Raises:
            UnknownNameError: no such split or wording.
        """
        rng = generator(seed, SCENE)
        instruction, goal, objects = draw_pick(rng, pool_of(split, config), wording, config, self._language)
        return EpisodeSpec(
            task=self.name,
            split=split,
            seed=seed,
            instruction=instruction,
            goal=goal,
            objects=objects,
            drops=pile_drops(rng, len(objects), config),
            wording=wording,
        )

    def compose(self, seed: tuple[int, ...], split: str, wording: str, kind: PhraseKind, config: SceneConfig) -> EpisodeSpec:
        """A scene of one split with a compositional sentence of one kind; its targets follow when it has settled.

        Raises:
            UnknownNameError: no such split or wording.
        """
        from srcli.tasks.composing import compose, layouts

        rng = generator(seed, SCENE)
        scene = compose(rng, kind, pool_of(split, config), config)
        drops = layouts(rng, scene, config)
        phrase = scene.phrase
        return EpisodeSpec(
            task=self.name,
            split=split,
            seed=seed,
            instruction=phrase_instruction(rng, phrase, wording),
            goal=Goal(phrase.noun, phrase.kind, (), reference=phrase.reference, modifier=phrase.word),
            objects=scene.objects,
            drops=drops[0],
            wording=wording,
            looks=scene.looks,
            redraws=drops[1:],
        )

    def settled(self, spec: EpisodeSpec, truth: SceneTruth) -> EpisodeSpec | None:
        """With the targets of a compositional sentence; None where it could be taken in two ways. Others stay as they are."""
        from srcli.tasks.composed import meaning, phrase_of

        phrase = phrase_of(spec.goal)
        if phrase is None or spec.goal.targets:
            return spec
        found = meaning(phrase, spec.objects, spec.looks, truth)
        if found is None:
            return None
        return replace(spec, goal=replace(spec.goal, targets=found.targets, references=found.references))

    def from_case(self, case: Case, seed: tuple[int, ...], config: SceneConfig) -> EpisodeSpec:
        """The case's objects and sentence, dropped anew; where the case fixes the drops, exactly so.

        Raises:
            ConfigError: no object of the case carries the keyword.
        """
        rng = generator(seed, SCENE)
        composed = bool(case.modifier) and case.targets is None
        if composed and case.drops is None:
            return self._composed_case(case, seed, rng, config)
        targets = () if composed else case_targets(case)
        order = list(range(len(case.objects))) if case.drops is not None else [int(i) for i in rng.permutation(len(case.objects))]
        return EpisodeSpec(
            task=self.name,
            split=case.split,
            seed=seed,
            instruction=case.instruction,
            goal=Goal(
                case.keyword,
                case.keyword_kind,
                tuple(sorted(order.index(t) for t in targets)),
                reference=case.reference if case.modifier else "",
                modifier=case.modifier,
            ),
            objects=tuple(case.objects[i] for i in order),
            drops=pile_drops(rng, len(order), config) if case.drops is None else case.drops,
            wording=case.wording,
            case=case.name,
            fixed=case.drops is not None,
        )

    def _composed_case(self, case: Case, seed: tuple[int, ...], rng: np.random.Generator, config: SceneConfig) -> EpisodeSpec:
        from srcli.tasks.composing import arrange, layouts

        scene = arrange(rng, Phrase(phrase_kind(case.keyword_kind), case.keyword, case.modifier, case.reference), case.objects)
        drops = layouts(rng, scene, config)
        return EpisodeSpec(
            task=self.name,
            split=case.split,
            seed=seed,
            instruction=case.instruction,
            goal=Goal(case.keyword, case.keyword_kind, (), reference=case.reference, modifier=case.modifier),
            objects=scene.objects,
            drops=drops[0],
            wording=case.wording,
            case=case.name,
            redraws=drops[1:],
        )

    def shift(self, phase: Phase) -> float:
        """Picking alone has its own zone in the middle."""
        return 0.0

    def possible(self, spec: EpisodeSpec, truth: SceneTruth, phase: Phase) -> bool:
        """Whether any target is still in the workspace."""
        return bool(truth.present[list(spec.goal.targets)].any())

    def valid(
        self,
        spec: EpisodeSpec,
        truth: SceneTruth,
        candidates: Candidates,
        phase: Phase,
        slots: I32 | None = None,
        held: HeldExtent | None = None,
    ) -> Bool:
        """(K,) candidates that lie on a target.

        Raises:
            ValueError: ``slots`` is missing.
        """
        if slots is None:
            raise ValueError("which grasp candidates are right follows from the slots on which they lie")
        right: Bool = np.isin(slots, spec.goal.targets)
        return right

    def expert(
        self,
        spec: EpisodeSpec,
        truth: SceneTruth,
        candidates: Candidates,
        excluded: Bool,
        rng: np.random.Generator,
        phase: Phase,
        valid: Bool | None = None,
    ) -> int | None:
        """The candidate nearest (3-D) to the centre of one randomly drawn present target, as A2's demonstrator."""
        targets = [slot for slot in spec.goal.targets if truth.present[slot]]
        if not targets or excluded.all():
            return None
        target = targets[int(rng.integers(len(targets)))]
        distance = np.linalg.norm(candidates.poses[:, :3].astype(np.float64) - truth.poses[target, :3], axis=1)
        return int(np.argmin(np.where(excluded, np.inf, distance)))

    def judge(
        self,
        spec: EpisodeSpec,
        phase: Phase,
        execution: Execution,
        truth: SceneTruth,
        action: Action | None = None,
        after: SceneTruth | None = None,
        held: HeldExtent | None = None,
    ) -> Outcome:
        """Success if and only if the object held at the end is a target."""
        if execution.reason is not Reason.SUCCESS:
            return Outcome(False, execution.reason, execution.slot)
        if execution.slot in spec.goal.targets:
            return Outcome(True, Reason.SUCCESS, execution.slot)
        return Outcome(False, Reason.WRONG_OBJECT, execution.slot)


def draw_pick(
    rng: np.random.Generator, drawn: str, wording: str, config: SceneConfig, language: LanguageConfig
) -> tuple[str, Goal, tuple[str, ...]]:
    """A sentence, its goal and the objects of a pile in dropping order; ``drawn`` says from what (:func:`pool_of`)."""
    names = split_names(drawn)
    kind, keyword, fitting = draw_keyword(rng, names, wording)
    few = config.targets_seen if split_of_pool(drawn) == "seen" else config.targets_unseen
    count = min(len(fitting), config.objects, len(fitting) if len(fitting) <= config.all_targets else few)
    chosen = [fitting[i] for i in rng.choice(len(fitting), size=count, replace=False)]
    pool = [name for name in names if name not in fitting and not could_mean(name, keyword)]
    objects = [*chosen, *draw_names(rng, pool, config.objects - count)]
    # The drop order decides who lies on top: without mixing, targets would always be at the bottom.
    objects = [objects[i] for i in rng.permutation(len(objects))]
    instruction = pick_instruction(rng, kind, keyword, fitting, wording, language)
    return instruction, Goal(keyword, kind, tuple(i for i, name in enumerate(objects) if name in fitting)), tuple(objects)


def case_targets(case: Case) -> tuple[int, ...]:
    """Positions in ``case.objects`` of what counts as picked.

    Raises:
        ConfigError: no object of the case carries the keyword.
    """
    if case.targets is not None:
        return case.targets
    fitting = keyword_table(_kind(case.keyword_kind), case.objects).get(case.keyword, ())
    targets = tuple(i for i, name in enumerate(case.objects) if name in fitting)
    if not targets:
        raise ConfigError(
            f"case '{case.name}': no object carries the {case.keyword_kind} '{case.keyword}'",
            "correct the case's keyword or its objects",
        )
    return targets


def _kind(name: str) -> KeywordKind:
    for kind in KINDS:
        if kind == name:
            return kind
    raise unknown_name("keyword kind", name, KINDS)
