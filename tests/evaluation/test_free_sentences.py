"""The suites of free sentences: their data, their scenes, and that the reported half has been read by nobody."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from srcli.config.scene import SceneConfig
from srcli.errors import ArtifactError, ConfigError, UnknownNameError
from srcli.evaluation.freesentences import FREE_KINDS, MOST_TARGETS, OBJECTS, free_cases, read_sentences
from srcli.evaluation.methods import method_sections, resolve_methods
from srcli.evaluation.plan import make_setup
from srcli.evaluation.suites import SuiteEpisode, _content, file_episodes, find_episode, suite_episodes
from srcli.evaluation.worker import Job, run_job, start
from srcli.language.spelling import words_of
from srcli.objects import catalogue
from srcli.parallel import make_executor
from srcli.params import Params
from srcli.pretraining.encoder.captions import all_templates, caption
from srcli.pretraining.encoder.lexicon import build_lexicon
from srcli.tasks.pick import PickTask

LINE = "  - {{kind: purpose, split: seen, say: '{say}', targets: [{targets}]{more}}}\n"


def text(say: str = "cut this", targets: str = "scissors", more: str = "") -> str:
    return "sentences:\n" + LINE.format(say=say, targets=targets, more=more)


def triples(said: str) -> set[tuple[str, ...]]:
    words = words_of(said)
    return {words[i : i + 3] for i in range(len(words) - 2)}


@pytest.mark.parametrize("suite", ["free", "free-development"])
def test_each_half_has_every_kind_alike_on_both_splits(suite: str) -> None:
    cases = free_cases(suite)
    kinds = Counter(case.keyword_kind for case in cases)
    assert set(kinds) == set(FREE_KINDS) and len(set(kinds.values())) == 1 and len(cases) >= 75
    for kind in FREE_KINDS:
        assert {case.split for case in cases if case.keyword_kind == kind} == {"seen", "unseen"}


def test_no_sentence_of_one_half_is_in_the_other() -> None:
    reported, other = ({case.instruction.lower() for case in free_cases(suite)} for suite in ("free", "free-development"))
    assert not reported & other


def test_no_three_words_of_the_reported_half_are_in_what_the_encoder_reads() -> None:
    """Vocabulary, captions and knowledge of objects must not be written after these sentences."""
    rng = np.random.default_rng(0)
    known = build_lexicon().concepts
    phrases = {concept.phrase for concept in known}
    read = set(chain.from_iterable(triples(form.format(phrase)) for form in all_templates() for phrase in phrases))
    for _ in range(20_000):
        read |= triples(caption(known[int(rng.integers(len(known)))], rng))
    assert ("give", "me", "the") in read
    for case in free_cases("free"):
        assert not triples(case.instruction) & read, case.instruction


def test_a_scene_has_the_targets_and_what_must_lie_beside_and_nothing_else_that_could_be_meant() -> None:
    more = ", beside: [knife], avoid: [peeler, power_drill]"
    for say in ("cut this", "cut that", "cut it", "cut them", "cut all"):
        (case,) = read_sentences(text(say, "scissors, tape, soap", more), "x.yaml")
        assert len(case.objects) == OBJECTS and case.targets is not None and len(case.targets) == MOST_TARGETS
        right = {case.objects[slot] for slot in case.targets}
        assert right <= {"scissors", "tape", "soap"} and "knife" in case.objects
        others = [name for slot, name in enumerate(case.objects) if slot not in case.targets]
        assert not {*others} & {"scissors", "tape", "soap", "peeler", "power_drill"}
        assert all(catalogue()[name].split == "seen" for name in case.objects)


def test_scenes_and_seeds_follow_from_the_sentence_whatever_stands_beside_it() -> None:
    alone = read_sentences(text(), "x.yaml")
    among = read_sentences(text("write", "baoke_marker") + LINE.format(say="cut this", targets="scissors", more=""), "x.yaml")
    assert among[1] == alone[0]


def test_episodes_repeat_sentences_and_are_found_again_by_name_and_key() -> None:
    episodes = suite_episodes("free", 3, ("unseen",))
    cases = [case for case in free_cases("free") if case.split == "unseen"]
    assert len(episodes) == 2 * len(cases) and len({e.key for e in episodes}) == len(episodes)
    assert {e.kind for e in episodes} == set(FREE_KINDS) and len({e.cluster for e in episodes}) == len(cases)
    assert not {e.seed for e in episodes} & {e.seed for e in suite_episodes("free-development", 3)}
    assert [e.seed for e in suite_episodes("free", 3, ("unseen",), limit=5)] == [e.seed for e in episodes[:5]]
    last = episodes[-1]
    assert last.case is not None
    for found in (find_episode(last.key, 1, 3), find_episode(last.case.name, 2, 3)):
        assert (found.seed, found.case, found.kind) == (last.seed, last.case, last.kind)
    with pytest.raises(ConfigError, match="has changed since"):
        find_episode(last.key[:-8] + "00000000", 1, 3)
    other = replace(last.case, keyword_kind="polite" if last.kind != "polite" else "typing")
    assert _content(other) != _content(last.case)
    task = PickTask()
    spec = last.spec(task, SceneConfig())
    assert spec.instruction == last.case.instruction
    named = {spec.objects[slot] for slot in spec.goal.targets}
    assert last.case.targets is not None and named == {last.case.objects[slot] for slot in last.case.targets}
    with pytest.raises(UnknownNameError):
        find_episode("3-9-17-train-01234567", 1, 3)
    assert file_episodes([], 3, ("seen",)) == ()


def test_free_sentences_are_for_picking() -> None:
    with pytest.raises(ConfigError, match="suite 'free' has sentences for picking only"):
        suite_episodes("free", 3, task="place")


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("sentences: []", "at least 1 item"),
        ("sentences: [", "no file of free sentences"),
        (text(more=", wrong: 1"), "sentences.0.wrong"),
        (text(targets="shampoo"), "'shampoo' is no object of the seen split"),
        (text(more=", avoid: [scissors]"), "'scissors' is right and wrong at once"),
        (text() + LINE.format(say="cut this", targets="scissors", more=""), "two sentences are named 'purpose/cut-this'"),
    ],
)
def test_damaged_lines_are_named(yaml: str, said: str) -> None:
    with pytest.raises(ArtifactError, match=r"^x\.yaml") as caught:
        read_sentences(yaml, "x.yaml")
    assert said in caught.value.message


def test_an_object_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownNameError, match="scisors"):
        read_sentences(text(targets="scisors"), "x.yaml")


def test_a_typing_error_is_played_as_what_is_meant_and_told() -> None:
    params = Params()
    evaluate = params.evaluate.model_copy(update={"similarity_rule": False, "attempts": 1})
    params = params.model_copy(update={"evaluate": evaluate})
    setup = make_setup(params, resolve_methods(("similarity",), [], method_sections(params.methods)), ["pick"])
    (case,) = read_sentences(text("give me the shears", "scissors"), "x.yaml")
    episode = SuiteEpisode(0, "seen", (0, 2, 5), "train", case, "pick", kind="purpose")
    said = [replace(case, instruction="give me the shearer quokka"), replace(case, instruction="give me the shaers quokka")]
    said.append(replace(case, instruction="give me the shears quokka"))
    jobs = [Job(episode, (0,)), *(Job(replace(episode, case=other), (0,)) for other in said)]
    (plain,), (real,), (typed,), (meant,) = make_executor("processes", 1).imap(run_job, jobs, start, (setup,))
    assert "read" not in plain and real["unknown"] == ["shearer", "quokka"] and "read" not in real
    assert typed["read"] == [["shaers", "shears"]] and typed["unknown"] == ["quokka"]
    assert typed["instruction"] == "give me the shaers quokka" and typed["keyword_kind"] == "purpose"
    assert typed["attempts"] == meant["attempts"]
