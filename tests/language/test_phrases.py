"""Compositional sentences: forms, held-out wordings, and what a noun stands for."""

from __future__ import annotations

import re

import numpy as np
import pytest

from srcli.errors import UnknownNameError
from srcli.language import TEMPLATES, parse_place, split_instruction, unknown_words
from srcli.language.phrases import (
    DIRECTIONS,
    FORMS,
    FRAMES,
    PHRASE_KINDS,
    RELATIVE,
    SUPERLATIVES,
    Phrase,
    is_called,
    may_be_called,
    phrase_instruction,
    phrase_kind,
    phrase_sentences,
    phrases,
    plain_label,
)
from srcli.objects import catalogue
from srcli.types import Look

EVERY = [
    Phrase("attribute_noun", "cup", "red"),
    *(Phrase("reference", "marker", word, "yellow bowl") for word in RELATIVE),
    *(Phrase("superlative", "bottle", word) for word in SUPERLATIVES),
]


def _patterns(wording: str) -> list[re.Pattern[str]]:
    return [
        re.compile(re.escape(frame).replace(r"\{\}", "(.+)") + "$")
        for name, fs in FRAMES.items()
        if name == wording
        for frame in fs
    ]


def test_sentences_of_the_issue() -> None:
    assert "give me the red cup" in phrase_sentences(EVERY[0])
    assert "grasp the marker in the bowl" in phrase_sentences(Phrase("reference", "marker", "in", "bowl"))
    assert "I want the cup next to the box" in phrase_sentences(Phrase("reference", "cup", "next to", "box"))
    assert "I need the largest box" in phrase_sentences(Phrase("superlative", "box", "largest"))
    assert "give me the leftmost bottle" in phrase_sentences(Phrase("superlative", "bottle", "leftmost"))


@pytest.mark.parametrize("phrase", EVERY, ids=lambda phrase: phrase.word)
def test_heldout_wordings_are_held_out(phrase: Phrase) -> None:
    trained, held = phrase_sentences(phrase, "train"), phrase_sentences(phrase, "heldout")
    assert trained and held and not set(trained) & set(held)
    # Neither the words around a phrase nor the phrase itself occur in the other group.
    assert not set(phrases(phrase, "train")) & set(phrases(phrase, "heldout"))
    assert not any(pattern.match(text) for pattern in _patterns("heldout") for text in trained)
    assert not any(pattern.match(text) for pattern in _patterns("train") for text in held)
    # Frames of demonstrations of single words stay out of the held-out group, too.
    plain = [form.text.replace("{a}", "a") for form in TEMPLATES["train"] if form.kind == "label"]
    assert not any(text.startswith(form.partition("{}")[0]) for text in held for form in plain)


def test_every_kind_relation_and_superlative_has_forms_in_both_groups() -> None:
    keys = {"attribute_noun", *RELATIVE, *SUPERLATIVES}
    assert all(set(FORMS[group]) == keys for group in ("train", "heldout"))
    assert set(DIRECTIONS) < set(SUPERLATIVES)


@pytest.mark.parametrize("wording", ["train", "heldout"])
@pytest.mark.parametrize("phrase", EVERY, ids=lambda phrase: phrase.word)
def test_sentences_are_for_picking_and_inside_the_vocabulary(phrase: Phrase, wording: str) -> None:
    for text in phrase_sentences(phrase, wording):
        assert split_instruction(text) == (text, "")
        assert not unknown_words(text)
        assert phrase.noun in text and phrase.reference in text
    rng = np.random.default_rng(0)
    drawn = {phrase_instruction(rng, phrase, wording) for _ in range(300)}
    assert drawn == set(phrase_sentences(phrase, wording))
    assert parse_place("give me the red cup") is None


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="wording 'spoken'"):
        phrases(EVERY[0], "spoken")
    with pytest.raises(UnknownNameError, match="superlative 'tallest'"):
        phrases(Phrase("superlative", "box", "tallest"))
    with pytest.raises(UnknownNameError, match="relation 'under'"):
        phrases(Phrase("reference", "box", "under", "cup"))
    with pytest.raises(UnknownNameError, match="kind of compositional sentence 'label'"):
        phrase_kind("label")
    assert [phrase_kind(kind) for kind in PHRASE_KINDS] == list(PHRASE_KINDS)


def test_a_noun_is_a_label_without_its_colour_or_a_kind() -> None:
    assert plain_label("red_mug") == "mug" and plain_label("red_mug", Look(color="blue")) == "mug"
    # A brand is no colour.
    assert plain_label("blue_moon") == "blue moon"
    assert is_called("yellow_cup", "cup") and is_called("yellow_cup", "container") and not is_called("yellow_cup", "mug")
    assert is_called("red_mug", "blue mug", Look(color="blue")) and not is_called("red_mug", "red mug", Look(color="blue"))


def test_what_a_person_may_call_so_is_known() -> None:
    # By a synonym, and by what it looks like.
    assert may_be_called("thera_med", "bottle") and not is_called("thera_med", "bottle")
    assert may_be_called("nivea_men", "bottle") and may_be_called("suger_2", "box")
    assert not may_be_called("apple", "bottle")
    called = [name for name in catalogue().names if is_called(name, "box")]
    assert called == ["soap_box", "darlie_box", "gelatin_box", "pink_tea_box", "suger_1"]
