"""Other sentences for what was seen: what they mean, what is taken, and what is never said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from srcli.config.language import LanguageConfig
from srcli.config.sim import SimConfig
from srcli.language import could_mean, keyword_table, parse_place, sentences
from srcli.language.phrases import PHRASE_KINDS
from srcli.language.relations import RELATIONS
from srcli.learning import relabel
from srcli.learning.relabel import Asked, ask_anew, recorded_truth
from srcli.objects import catalogue
from srcli.tasks import get_task
from srcli.tasks.composed import meaning, phrase_of
from srcli.tasks.outlines import body
from srcli.types import F64, Candidates, EpisodeSpec, Goal, HeldExtent, Phase

PILE = ("apple", "lemon", "red_mug", "cup", "scissors", "knife", "black_marker", "zebra")
AROUND = np.array([[0.0, 0.0], [0.06, 0.0], [-0.06, 0.0], [0.0, 0.06], [0.0, -0.06]])


def scene(objects: tuple[str, ...], removed: tuple[int, ...] = ()) -> tuple[EpisodeSpec, F64, Candidates, np.ndarray]:
    """Objects standing in two rows, with a candidate on each of them and four around it."""
    poses = np.zeros((len(objects), 7))
    poses[:, 6] = 1.0
    for slot, name in enumerate(objects):
        poses[slot, :3] = 0.4 + 0.12 * (slot // 4), -0.15 + 0.1 * (slot % 4), -float(body(name).points[:, 2].min())
    tips = (poses[:, None, :3] + np.concatenate([AROUND, np.zeros((5, 1))], axis=1)).reshape(-1, 3)
    slots = np.repeat(np.arange(len(objects), dtype=np.int32), 5)
    poses[list(removed)] = np.nan
    grasps = np.concatenate([tips, np.tile([1.0, 0, 0, 0], (len(tips), 1))], axis=1).astype(np.float32)
    flat = np.full(len(tips), 0.05, np.float32)
    spec = EpisodeSpec(
        "pick", "seen", (0, 1, 2), "give me the apple", Goal("apple", "label", (0,)), objects, np.zeros((len(objects), 7))
    )
    return spec, poses, Candidates(grasps, flat, flat), slots


def ask(
    spec: EpisodeSpec,
    poses: F64,
    candidates: Candidates,
    slots: np.ndarray,
    phase: Phase = "pick",
    count: int = 12,
    **more: object,
) -> tuple[Asked, ...]:
    given = {"excluded": np.zeros(len(candidates), bool), "held": None, "compositional": 0.0, **more}
    return ask_anew(
        get_task(spec.task),
        spec,
        recorded_truth(poses, SimConfig()),
        candidates,
        phase,
        slots=slots,
        count=count,
        rng=np.random.default_rng(0),
        language=LanguageConfig(),
        **given,  # type: ignore[arg-type]
    )


def test_every_sentence_has_its_own_meaning_and_the_expert_s_candidate_is_right() -> None:
    spec, poses, candidates, slots = scene(PILE)
    found = ask(spec, poses, candidates, slots)
    assert len(found) == 12 == len({(one.goal.keyword_kind, one.goal.keyword) for one in found})
    for one in found:
        goal = one.goal
        carriers = keyword_table(goal.keyword_kind, PILE)[goal.keyword]  # type: ignore[arg-type]
        assert goal.targets == tuple(i for i, name in enumerate(PILE) if name in carriers) and goal.keyword != "apple"
        assert not any(could_mean(name, goal.keyword) for name in PILE if name not in carriers)
        assert one.instruction in sentences(goal.keyword_kind, goal.keyword)  # type: ignore[arg-type]
        np.testing.assert_array_equal(one.valid, np.isin(slots, goal.targets))
        target = slots[one.label]
        # Of a target's five candidates the one at its centre.
        assert one.valid[one.label] and one.label == 5 * target
    again = ask(spec, poses, candidates, slots)
    assert [(one.instruction, one.label) for one in found] == [(one.instruction, one.label) for one in again]


def test_what_is_gone_is_not_asked_for_and_what_failed_is_not_taken() -> None:
    spec, poses, candidates, slots = scene(PILE, removed=(1, 4))
    centre = np.arange(len(candidates)) % 5 == 0
    found = ask(spec, poses, candidates, slots, excluded=centre)
    assert found and not any({1, 4} & {*one.goal.targets} for one in found)
    assert not any(one.valid[centre].any() or centre[one.label] for one in found)
    assert ask(spec, poses, candidates, slots, excluded=np.ones(len(candidates), bool)) == ()


def test_compositional_sentences_mean_what_the_scene_says() -> None:
    spec, poses, candidates, slots = scene(("black_marker", "red_marker", "cup", "red_mug", "apple", "plum", "knife", "lemon"))
    found = ask(spec, poses, candidates, slots, compositional=1.0)
    assert len({one.goal.keyword_kind for one in found}) > 1
    for one in found:
        phrase = phrase_of(replace(one.goal, targets=()))
        assert phrase is not None and phrase.kind in PHRASE_KINDS
        means = meaning(phrase, spec.objects, spec.looks, recorded_truth(poses, SimConfig()))
        assert means is not None and means.targets == one.goal.targets and slots[one.label] in one.goal.targets


def test_what_may_lie_on_its_reference_is_not_said_to_lie_next_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outlines that overlap are of things stacked, or leaning on each other: contacts are not recorded."""
    spec, poses, candidates, slots = scene(("black_marker", "red_marker", "cup", "knife", "lemon", "zebra", "scissors", "apple"))
    end = poses[7, :2] + [0.09, 0.0]
    candidates.poses[slots == 0, :2] += (end - poses[0, :2]).astype(np.float32)
    poses[0, :2] = end

    def pairs() -> set[tuple[int, ...]]:
        found = ask(spec, poses, candidates, slots, count=40, compositional=1.0)
        return {(*one.goal.targets, *one.goal.references) for one in found if one.goal.keyword_kind == "reference"}

    assert (0, 7) not in pairs()
    monkeypatch.setattr(relabel, "_stacked", lambda *given: False)
    assert (0, 7) in pairs()


def test_other_references_and_relations_for_a_placement() -> None:
    objects = ("red_bowl", "apple", "zebra", "cup", "lemon", "black_marker")
    spec, poses, candidates, slots = scene(objects)
    poses[5, :2] = 0.5, 0.5  # held, beside the zone
    spec = replace(spec, task="place", goal=Goal("", "", (), "near", (1,), "apple"), held=5)
    found = ask(spec, poses, replace(candidates, kind="place"), slots, "place", held=HeldExtent(0.02, 0.01, 0.02))
    assert len(found) >= 8
    for one in found:
        read = parse_place(one.instruction)
        assert read is not None and (read.relation, read.reference) == (one.goal.relation, one.goal.reference)
        assert RELATIONS[one.goal.relation].seen and (one.goal.relation, one.goal.reference) != ("near", "apple")
        name = objects[one.goal.references[0]]
        assert one.goal.reference in (catalogue()[name].label, *catalogue()[name].general) and name != "black_marker"
        assert one.valid[one.label]
    assert ask(replace(spec, held=-1), poses, replace(candidates, kind="place"), slots, "place") == ()
