"""What the text tower learns of language: statements, sentences made of them, a training that keeps what was known."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from srcli.config.pretrain import LanguageTrainingConfig, PretrainConfig
from srcli.errors import ArtifactError, MismatchError, UnknownNameError
from srcli.evaluation.freesentences import free_cases
from srcli.language.spelling import words_of
from srcli.objects import catalogue
from srcli.params import Params
from srcli.perception.encoders.embedded import PACKAGED, load_embedded
from srcli.pretraining.encoder.captions import is_held_out
from srcli.pretraining.encoder.knowledge import STATEMENT_KINDS, load_knowledge, read_knowledge
from srcli.pretraining.encoder.lexicon import build_lexicon
from srcli.pretraining.encoder.saying import FORMS, Said, deny, say
from srcli.pretraining.encoder.text_training import (
    BLANK,
    TextLearner,
    loss_of,
    make_language,
    make_text_batch,
    measure,
    targets,
)
from srcli.stages.pretrain_language import run

TINY = """
uses:
  - {say: slice a loaf, of: [knife], maybe: [scissors]}
  - {say: bore into a plank, of: [power_drill]}
situations:
  - {say: my tummy rumbles, of: [banana, apple, pear], maybe: [lemon]}
names:
  - {say: hoover, of: [white_mouse]}
fillers: [sorry to ask]
requests: ["any chance of a {}"]
negations: ["a {} but not the {not}"]
"""
CONFIG = LanguageTrainingConfig(batch=16, steps=3)


@pytest.fixture(scope="module")
def first():  # type: ignore[no-untyped-def]
    return load_embedded()


def test_statements_are_read_with_their_truth() -> None:
    knowledge = read_knowledge(TINY, "x.yaml")
    slicing = knowledge.statements[0]
    assert (slicing.kind, slicing.say, slicing.of, slicing.maybe) == ("uses", "slice a loaf", ("knife",), ("scissors",))
    assert "my tummy rumbles" in knowledge.texts() and "any chance of a " in knowledge.texts()
    some = read_knowledge(TINY, "x.yaml", ["apple", "scissors"])
    assert [(s.say, s.of, s.maybe) for s in some.statements] == [("my tummy rumbles", ("apple",), ())]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("uses: [", "holds no knowledge"),
        ("usage: []", "usage"),
        ("uses: [{say: cut it, of: []}]", "at least 1 item"),
        ("uses: [{say: cut it, of: [knife], maybe: [knife]}]", "'knife' is true and doubtful at once"),
        ("uses: [{say: cut it, of: [knife]}, {say: cut it, of: [scissors]}]", "is said twice"),
        ("requests: [give me]", "no single place"),
        ('negations: ["{} not that"]', "no single place"),
    ],
)
def test_damaged_knowledge_is_named(text: str, said: str) -> None:
    with pytest.raises(ArtifactError, match=r"^x\.yaml") as caught:
        read_knowledge(text, "x.yaml")
    assert said in caught.value.message


def test_an_object_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownNameError, match="knive"):
        read_knowledge("uses: [{say: cut it, of: [knive]}]", "x.yaml")


def test_the_package_knows_much_of_every_object() -> None:
    knowledge = load_knowledge()
    of = Counter(name for statement in knowledge.statements for name in statement.of)
    assert set(of) == set(catalogue().names) and min(of.values()) >= 8
    assert {statement.kind for statement in knowledge.statements} >= set(STATEMENT_KINDS) - {"contrasts"}
    assert len(knowledge.statements) >= 900 and min(map(len, (knowledge.fillers, knowledge.requests))) >= 40
    for statement in knowledge.statements:
        assert statement.say == statement.say.lower().strip() and words_of(statement.say)


def test_no_held_out_wording_and_no_three_words_of_the_reported_sentences_are_said() -> None:
    def triples(text: str) -> set[tuple[str, ...]]:
        words = words_of(text)
        return {words[i : i + 3] for i in range(len(words) - 2)}

    knowledge = load_knowledge()
    read: set[tuple[str, ...]] = set()
    for statement in knowledge.statements:
        for form in FORMS[statement.kind]:
            read |= triples(form.format(statement.say))
    read |= {three for text in (*knowledge.fillers, *knowledge.requests, *knowledge.negations) for three in triples(text)}
    rng = np.random.default_rng(3)
    for _ in range(5000):
        one = say(knowledge.statements[int(rng.integers(len(knowledge.statements)))], knowledge, rng, 0.5)
        assert not is_held_out(one.text)
        read |= triples(one.text)
    for case in free_cases("free"):
        assert not triples(case.instruction) & read, (case.instruction, triples(case.instruction) & read)


def test_a_denied_member_and_its_namesakes_are_not_meant() -> None:
    knowledge = read_knowledge(TINY, "x.yaml")
    groups = {"fruit": ("apple", "banana", "pear")}
    labels = {"apple": "apple", "banana": "banana", "pear": "pear"}
    for seed in range(20):
        one = deny(groups, labels, knowledge, np.random.default_rng(seed))
        out = next(name for name in labels if one.text.endswith(f"but not the {name}"))
        assert one.text == f"a fruit but not the {out}" and set(one.of) == set(labels) - {out}


def test_targets_are_shares_and_doubtful_ones_count_for_nothing(first) -> None:  # type: ignore[no-untyped-def]
    language = make_language(first, build_lexicon(), read_knowledge(TINY, "x.yaml"))
    truth, doubtful = targets(language, [Said("a", ("apple", "suger_1"), ("lemon", "apple")), Said("b", ("knife",))])
    named = {language.names[i] for i in torch.nonzero(truth[0]).ravel().tolist()}
    assert named == {"apple", "suger_1", "suger_2"} and float(truth[0].max()) == pytest.approx(1 / 3)
    assert [language.names[i] for i in torch.nonzero(doubtful[0]).ravel().tolist()] == ["lemon"]
    assert not doubtful[1].any() and float(truth[1].sum()) == 1.0


def test_an_untrained_learner_reads_as_the_weights_before_and_learns_only_words(first) -> None:  # type: ignore[no-untyped-def]
    lexicon = build_lexicon()
    language = make_language(first, lexicon, read_knowledge(TINY, "x.yaml"))
    learner = TextLearner(first, lexicon, first.vocabulary | language.vocabulary, 0)
    texts = ["give me the apple", "put it near the red bowl"]
    pooled, tokens, real = learner.read(texts)
    before, before_tokens = learner.before(texts)
    torch.testing.assert_close(pooled, before)
    torch.testing.assert_close(tokens[real], before_tokens[real])
    # A word that is not in use reads like one that nobody ever read, before and after a step.
    unread = learner.read([f"give me the {BLANK} apple"])[0].detach()
    torch.testing.assert_close(unread, learner.before([f"give me the {BLANK} apple"])[0])
    optimizer = torch.optim.SGD([p for p in learner.model.parameters() if p.requires_grad], lr=0.5)
    batch = make_text_batch(CONFIG, language, 0)
    loss_of(CONFIG, learner, language, batch).backward()
    optimizer.step()
    table = learner.model.token_embedding.weight
    unused = torch.ones(len(table), dtype=torch.bool)
    unused[torch.tensor(learner.rows)] = False
    assert not table[unused].any()
    for name, value in learner.model.visual.state_dict().items():
        assert torch.equal(value, first.model.visual.state_dict()[name]), name
    assert measure(learner, language)["names_kept"] < 1.0


def test_batches_follow_from_seed_and_step(first) -> None:  # type: ignore[no-untyped-def]
    language = make_language(first, build_lexicon(), read_knowledge(TINY, "x.yaml"))
    assert make_text_batch(CONFIG, language, 4) == make_text_batch(CONFIG, language, 4)
    batch = make_text_batch(CONFIG, language, 5)
    assert batch != make_text_batch(CONFIG, language, 4)
    assert len(batch.said) == 10 and len(batch.plain) == len(batch.around) == 6


def params(**changes: object) -> Params:
    config = PretrainConfig(language=CONFIG.model_copy(update=changes))
    return Params().model_copy(update={"pretrain": config})


def test_weights_of_a_run_know_the_new_words_and_their_parents_and_read_pictures_as_before(tmp_path: Path) -> None:
    out = tmp_path / "language.safetensors"
    summary = run(params(), out, tmp_path / "cache")
    made, before = load_embedded(out), load_embedded()
    assert made.parents == (*before.parents, before.sha256) and made.sha256 == summary.sha256
    assert before.vocabulary < made.vocabulary and summary.words == len(made.vocabulary)
    assert summary.held_back > 0.05 * summary.statements and summary.before["names_kept"] == pytest.approx(1.0, abs=1e-4)
    for name, value in made.model.visual.state_dict().items():
        assert torch.equal(value, before.model.visual.state_dict()[name]), name
    again = run(params(), tmp_path / "again.safetensors", tmp_path / "other")
    assert again.sha256 == summary.sha256
    with pytest.raises(MismatchError):
        run(params(seed=1), out, tmp_path / "cache")


def test_nothing_is_said_of_objects_that_seen_only_has_never_met(tmp_path: Path) -> None:
    out = tmp_path / "language.safetensors"
    run(params(steps=1), out, tmp_path / "cache", start="seen-only")
    made, before = load_embedded(out), load_embedded(PACKAGED["seen-only"])
    assert made.hides_unseen and made.parents == (before.sha256,)
    language = make_language(before, build_lexicon(True), load_knowledge(catalogue().seen))
    unseen = set(catalogue().unseen)
    assert not unseen & set(language.names)
    assert not any(unseen & {*statement.of, *statement.maybe} for statement in language.knowledge.statements)
