"""Picking by the first half of a sentence and placing by the second."""

from __future__ import annotations

import numpy as np

from srcli.config.language import LanguageConfig
from srcli.config.scene import SceneConfig
from srcli.language.relations import pick_place_instruction, place_instruction
from srcli.seeding import SCENE, generator
from srcli.tasks.base import Case
from srcli.tasks.draws import pile_drops, pool_of
from srcli.tasks.pick import PickTask, case_targets, draw_pick
from srcli.tasks.place import case_references
from srcli.tasks.placing import (
    draw_place_zone,
    draw_reference,
    holdable,
    judge_place,
    place_drops,
    place_expert,
    place_possible,
    place_valid,
)
from srcli.types import (
    I32,
    PICK_SHIFT,
    PLACE_SHIFT,
    Action,
    Bool,
    Candidates,
    EpisodeSpec,
    Execution,
    Goal,
    HeldExtent,
    Outcome,
    Phase,
    SceneTruth,
)

_TRIES = 100


class PickPlaceTask:
    """Within 8 attempts pick a target out of the pile in the pick zone, then place it with one attempt (protocol of A2)."""

    name = "pick_place"
    phases: tuple[Phase, ...] = ("pick", "place")

    def __init__(self, language: LanguageConfig | None = None) -> None:
        self._language = language or LanguageConfig()
        self._pick = PickTask(self._language)

    def attempts(self, phase: Phase) -> int:
        """Eight grasps, one placement."""
        return self._pick.attempts(phase) if phase == "pick" else 1

    def shift(self, phase: Phase) -> float:
        """The zone of the phase."""
        return PICK_SHIFT if phase == "pick" else PLACE_SHIFT

    def sample(self, seed: tuple[int, ...], split: str, wording: str, config: SceneConfig) -> EpisodeSpec:
        """A pile as for picking and a place zone whose reference and relation suit every target.

        One target at least is small enough to be set down with ease. The reference's word could mean no target, and the pick
        keyword no object of the place zone. Slots: the pile, then the place zone.

        Raises:
            UnknownNameError: no such split or wording.
        """
        rng = generator(seed, SCENE)
        drawn = pool_of(split, config)
        small = frozenset(holdable(drawn))
        # A crowded zone has no room beside anything for the largest things.
        for _ in range(_TRIES):
            pick_half, goal, pile = draw_pick(rng, drawn, wording, config, self._language)
            targets = sorted({pile[slot] for slot in goal.targets})
            if small.intersection(targets):
                break
        reference, word, relation = draw_reference(rng, drawn, wording, targets, goal.keyword, every=True)
        zone = draw_place_zone(rng, drawn, reference, (word, goal.keyword), config)
        place_half = place_instruction(rng, relation.word, word, wording)
        return EpisodeSpec(
            task=self.name,
            split=split,
            seed=seed,
            instruction=pick_place_instruction(rng, pick_half, place_half),
            goal=Goal(
                goal.keyword,
                goal.keyword_kind,
                goal.targets,
                relation.word,
                (len(pile) + zone.index(reference),),
                word,
            ),
            objects=(*pile, *zone),
            drops=np.vstack([pile_drops(rng, len(pile), config), place_drops(rng, zone, config)]),
            wording=wording,
            shifts=(PICK_SHIFT,) * len(pile) + (PLACE_SHIFT,) * len(zone),
        )

    def from_case(self, case: Case, seed: tuple[int, ...], config: SceneConfig) -> EpisodeSpec:
        """The case's objects and sentence, dropped anew (or where the case says).

        Raises:
            ConfigError: no object carries the keyword, or none of the place zone the reference's word.
        """
        rng = generator(seed, SCENE)
        targets, references = case_targets(case), case_references(case)
        pick, place = len(case.objects), len(case.place_objects)
        if case.drops is None:
            pile_order, zone_order = rng.permutation(pick).tolist(), rng.permutation(place).tolist()
        else:
            pile_order, zone_order = list(range(pick)), list(range(place))
        pile = tuple(case.objects[i] for i in pile_order)
        zone = tuple(case.place_objects[i] for i in zone_order)
        drops = case.drops
        if drops is None:
            drops = np.vstack([pile_drops(rng, pick, config), place_drops(rng, zone, config)])
        return EpisodeSpec(
            task=self.name,
            split=case.split,
            seed=seed,
            instruction=case.instruction,
            goal=Goal(
                case.keyword,
                case.keyword_kind,
                tuple(sorted(pile_order.index(t) for t in targets)),
                case.relation,
                tuple(sorted(pick + zone_order.index(r) for r in references)),
                case.reference,
            ),
            objects=(*pile, *zone),
            drops=drops,
            wording=case.wording,
            case=case.name,
            shifts=(PICK_SHIFT,) * pick + (PLACE_SHIFT,) * place,
            fixed=case.drops is not None,
        )

    def possible(self, spec: EpisodeSpec, truth: SceneTruth, phase: Phase) -> bool:
        """Whether a target is left (pick), or a reference and a right position (place), in the zone looked at."""
        return self._pick.possible(spec, truth, phase) if phase == "pick" else place_possible(spec, truth)

    def valid(
        self,
        spec: EpisodeSpec,
        truth: SceneTruth,
        candidates: Candidates,
        phase: Phase,
        slots: I32 | None = None,
        held: HeldExtent | None = None,
    ) -> Bool:
        """(K,) grasps on a target, or placements in the valid region."""
        if phase == "pick":
            return self._pick.valid(spec, truth, candidates, phase, slots, held)
        return place_valid(spec, truth, candidates, held)

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
        """The pick expert's grasp, or a uniform draw among the valid placements."""
        if phase == "pick":
            return self._pick.expert(spec, truth, candidates, excluded, rng, phase, valid)
        return place_expert(spec, truth, candidates, excluded, rng, valid)

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
        """A target held (pick), or what was picked at rest where the relation says (place)."""
        if phase == "pick":
            return self._pick.judge(spec, phase, execution, truth, action, after, held)
        return judge_place(spec, execution, truth, action, after, held)
