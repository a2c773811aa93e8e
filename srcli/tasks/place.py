"""Placing what is in the gripper by a sentence that names a relation and a reference."""

from __future__ import annotations

import numpy as np

from srcli.config.language import LanguageConfig
from srcli.config.scene import SceneConfig
from srcli.errors import ConfigError, unknown_name
from srcli.language import could_mean
from srcli.language.relations import RELATIONS, place_instruction
from srcli.seeding import SCENE, generator
from srcli.tasks.base import Case
from srcli.tasks.draws import pool_of, random_rotations
from srcli.tasks.placing import (
    draw_place_zone,
    draw_reference,
    fits,
    holdable,
    judge_place,
    named,
    place_drops,
    place_expert,
    place_possible,
    place_valid,
)
from srcli.types import (
    F64,
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

_HELD_SPREAD = 0.05


class PlaceTask:
    """With one placement, put the held object where the sentence says (protocol of A2, carried out physically)."""

    name = "place"
    phases: tuple[Phase, ...] = ("place",)

    def __init__(self, language: LanguageConfig | None = None) -> None:
        self._language = language or LanguageConfig()

    def attempts(self, phase: Phase) -> int:
        """One placement."""
        return 1

    def shift(self, phase: Phase) -> float:
        """The place zone."""
        return PLACE_SHIFT

    def sample(self, seed: tuple[int, ...], split: str, wording: str, config: SceneConfig) -> EpisodeSpec:
        """A scene of one split with a generated sentence.

        The reference comes first: mostly something to put things in or on, else any object. Its word is its label or its kind;
        the relation is uniform among those it allows; what is held is any object that fits. Nothing else in the scene could be
        meant by the reference's word. Slots: the place zone, then the held object.

        Raises:
            UnknownNameError: no such split or wording.
        """
        drawn = pool_of(split, config)
        things = holdable(drawn)
        rng = generator(seed, SCENE)
        reference, word, relation = draw_reference(rng, drawn, wording, things)
        pool = [thing for thing in things if fits(thing, reference, relation.region) and not could_mean(thing, word)]
        held = pool[int(rng.integers(len(pool)))]
        zone = draw_place_zone(rng, drawn, reference, (word,), config, held)
        instruction = place_instruction(rng, relation.word, word, wording)
        drops = np.vstack([place_drops(rng, zone, config), _held_drop(rng, config)])
        return _spec(seed, split, instruction, word, relation.word, (zone.index(reference),), (*zone, held), drops, wording)

    def from_case(self, case: Case, seed: tuple[int, ...], config: SceneConfig) -> EpisodeSpec:
        """The case's objects and sentence, dropped anew (or where the case says); an unnamed held object is drawn.

        Raises:
            ConfigError: the case has no relation, or no object of it carries the reference's word.
        """
        rng = generator(seed, SCENE)
        references = case_references(case)
        fixed = case.drops is not None
        order = list(range(len(case.place_objects))) if fixed else [int(i) for i in rng.permutation(len(case.place_objects))]
        zone = tuple(case.place_objects[i] for i in order)
        slots = tuple(sorted(order.index(reference) for reference in references))
        held = case.held or _draw_held(rng, case, [zone[slot] for slot in slots])
        if case.drops is None:
            drops = np.vstack([place_drops(rng, zone, config), _held_drop(rng, config)])
        else:
            # Benchmark files have no held object: its pose is drawn.
            missing = len(zone) + 1 - len(case.drops)
            drops = np.vstack([case.drops, _held_drop(rng, config)]) if missing else case.drops
        return _spec(
            seed,
            case.split,
            case.instruction,
            case.reference,
            case.relation,
            slots,
            (*zone, held),
            drops,
            case.wording,
            case.name,
            fixed,
        )

    def possible(self, spec: EpisodeSpec, truth: SceneTruth, phase: Phase) -> bool:
        """Whether a reference is present and a position is left where the placement would be right."""
        return place_possible(spec, truth)

    def valid(
        self,
        spec: EpisodeSpec,
        truth: SceneTruth,
        candidates: Candidates,
        phase: Phase,
        slots: I32 | None = None,
        held: HeldExtent | None = None,
    ) -> Bool:
        """(K,) candidates in the valid region."""
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
        """A uniform draw among the valid candidates."""
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
        """Success if and only if the released object rests where the relation says."""
        return judge_place(spec, execution, truth, action, after, held)


def case_references(case: Case) -> tuple[int, ...]:
    """Positions in ``case.place_objects`` of what may be the reference.

    Raises:
        ConfigError: the relation is missing, or no object carries the reference's word.
        UnknownNameError: no such relation.
    """
    if not case.relation or not case.place_objects:
        raise ConfigError(f"case '{case.name}' names no placement", "give it relation, reference and place_objects")
    if case.relation not in RELATIONS:
        raise unknown_name("relation", case.relation, RELATIONS)
    if case.references is not None:
        return tuple(slot - len(case.objects) for slot in case.references)
    found = named(case.reference, case.place_objects)
    if not found:
        raise ConfigError(
            f"case '{case.name}': no object of the place zone is called '{case.reference}'",
            "correct the case's reference or its place_objects",
        )
    return found


def _draw_held(rng: np.random.Generator, case: Case, references: list[str]) -> str:
    region = RELATIONS[case.relation].region
    free = [thing for thing in holdable(case.split) if thing not in references and not could_mean(thing, case.reference)]
    # A benchmark file may ask for what nothing fits ("on" a screwdriver): then anything is held.
    pool = [thing for thing in free if all(fits(thing, reference, region) for reference in references)] or free
    return pool[int(rng.integers(len(pool)))]


def _held_drop(rng: np.random.Generator, config: SceneConfig) -> F64:
    """(1, 7) drop pose near the middle of the pick zone, any rotation."""
    drop = np.empty((1, 7))
    drop[0, :2] = np.array([config.center_x, config.center_y]) + rng.uniform(-_HELD_SPREAD, _HELD_SPREAD, 2)
    drop[0, 2] = config.drop_height
    drop[:, 3:] = random_rotations(rng, 1)
    return drop


def _spec(
    seed: tuple[int, ...],
    split: str,
    instruction: str,
    word: str,
    relation: str,
    references: tuple[int, ...],
    objects: tuple[str, ...],
    drops: F64,
    wording: str,
    case: str = "",
    fixed: bool = False,
) -> EpisodeSpec:
    held = len(objects) - 1
    return EpisodeSpec(
        task=PlaceTask.name,
        split=split,
        seed=seed,
        instruction=instruction,
        goal=Goal("", "", (held,), relation, references, word),
        objects=objects,
        drops=drops,
        wording=wording,
        case=case,
        shifts=(PLACE_SHIFT,) * held + (PICK_SHIFT,),
        held=held,
        fixed=fixed,
    )
