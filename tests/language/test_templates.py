"""Sentences: the benchmark's forms, held-out wording, synonyms, vocabulary."""

from __future__ import annotations

import numpy as np
import pytest

from srcli.config.language import LanguageConfig
from srcli.errors import UnknownNameError
from srcli.language import (
    KINDS,
    TEMPLATES,
    could_mean,
    draw_keyword,
    keyword_table,
    pick_instruction,
    sentences,
    synonyms,
    unknown_words,
    vocabulary,
)
from srcli.language.spelling import words_of
from srcli.language.templates import SYNONYMS
from srcli.objects import catalogue


def test_probabilities_of_each_group_sum_to_one() -> None:
    for forms in TEMPLATES.values():
        assert sum(form.probability for form in forms) == pytest.approx(1.0)
        assert {form.kind for form in forms} == set(KINDS)


def test_training_wording_is_the_benchmarks() -> None:
    assert sentences("label", "apple") == ("give me the apple",)
    assert sentences("general", "fruit") == ("I need a fruit",)
    assert sentences("attribute", "orange") == ("grasp an orange object", "I want an orange object")
    assert sentences("function", "eat") == ("get something to eat",)


def test_heldout_sentences_never_occur_in_training_wording() -> None:
    names = catalogue().names
    trained = {s for kind in KINDS for word in keyword_table(kind, names) for s in sentences(kind, word)}
    rng = np.random.default_rng(0)
    for _ in range(400):
        kind, keyword, targets = draw_keyword(rng, names, "heldout")
        assert pick_instruction(rng, kind, keyword, targets, "heldout") not in trained
    forms = [{form.text for form in group} for group in TEMPLATES.values()]
    assert not forms[0] & forms[1]


def test_training_never_uses_synonyms() -> None:
    rng = np.random.default_rng(1)
    config = LanguageConfig(synonym_share=1.0)
    for _ in range(300):
        kind, keyword, targets = draw_keyword(rng, catalogue().names, "train")
        assert keyword in pick_instruction(rng, kind, keyword, targets, "train", config)


def test_synonyms_are_used_in_heldout_wording_at_their_share() -> None:
    rng = np.random.default_rng(2)
    said = [pick_instruction(rng, "function", "eat", (), "heldout", LanguageConfig(synonym_share=0.5)) for _ in range(400)]
    share = np.mean(["eat" not in s.split() for s in said])
    assert 0.4 < share < 0.6


def test_a_synonym_fits_no_other_object() -> None:
    entries = catalogue()
    found = 0
    for name in entries.names:
        label = entries[name].label
        targets = keyword_table("label", entries.names)[label]
        for word in synonyms(label, "label", targets):
            found += 1
            assert not any(could_mean(other, word) for other in entries.names if other not in targets)
    assert found > 0


def test_synonym_table_is_disjoint_from_keywords() -> None:
    keywords = {word for kind in KINDS for word in keyword_table(kind, catalogue().names)}
    assert not keywords & {other for others in SYNONYMS.values() for other in others}


def test_kinds_follow_the_probabilities() -> None:
    rng = np.random.default_rng(3)
    kinds = [draw_keyword(rng, catalogue().seen, "train")[0] for _ in range(2000)]
    for kind, share in (("label", 0.4), ("general", 0.2), ("attribute", 0.2), ("function", 0.2)):
        assert np.mean([k == kind for k in kinds]) == pytest.approx(share, abs=0.04)


def test_could_mean_is_stricter_than_the_label() -> None:
    entries = catalogue()
    for name in entries.names:
        entry = entries[name]
        assert could_mean(name, entry.label)
        for word in (*entry.general, *entry.attributes, *entry.functions):
            assert could_mean(name, word)


def test_every_sentence_is_inside_the_vocabulary() -> None:
    rng = np.random.default_rng(4)
    for wording in ("train", "heldout"):
        for _ in range(300):
            kind, keyword, targets = draw_keyword(rng, catalogue().names, wording)
            assert unknown_words(pick_instruction(rng, kind, keyword, targets, wording)) == ()
    assert unknown_words("Give me the zweihander, the apple zweihander!") == ("zweihander",)
    assert {"give", "an", "apple"} <= vocabulary()


def test_words_are_lower_case_and_without_punctuation() -> None:
    assert words_of("Give me the Head&Shoulders care!") == ("give", "me", "the", "head&shoulders", "care")


def test_unknown_wording_is_named() -> None:
    with pytest.raises(UnknownNameError, match="wording 'hold'"):
        pick_instruction(np.random.default_rng(0), "label", "apple", ("apple",), "hold")
