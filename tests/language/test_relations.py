"""Relations: sentences of placements and the way back from them."""

from __future__ import annotations

import numpy as np
import pytest

from srcli.errors import UnknownNameError
from srcli.language import (
    PLACE_TEMPLATES,
    RELATIONS,
    TEMPLATES,
    PlacePhrase,
    parse_place,
    pick_place_instruction,
    place_instruction,
    reference_prompt,
    split_instruction,
    unknown_words,
)


def test_six_relations_are_seen_and_each_has_its_class() -> None:
    assert {word for word, relation in RELATIONS.items() if relation.seen} == {"on", "in", "to", "near", "around", "next to"}
    assert len(RELATIONS) == 11
    assert [word for word, relation in RELATIONS.items() if relation.region == "in"] == ["in"]
    assert {word for word, relation in RELATIONS.items() if relation.region == "on"} == {"on", "to", "upside", "on top of"}


@pytest.mark.parametrize("wording", ["train", "heldout"])
@pytest.mark.parametrize("relation", list(RELATIONS))
def test_every_place_sentence_is_read_back_and_known(relation: str, wording: str) -> None:
    rng = np.random.default_rng(0)
    said = {place_instruction(rng, relation, "tomato soup can", wording) for _ in range(40)}
    assert len(said) == len(PLACE_TEMPLATES[wording])
    for text in said:
        pick, place = split_instruction(text)
        assert pick == ""
        assert parse_place(place) == PlacePhrase(relation, "tomato soup can")
        assert not unknown_words(text)
        assert reference_prompt(place) == "give me the tomato soup can"


def test_heldout_forms_are_no_training_forms() -> None:
    assert not set(PLACE_TEMPLATES["train"]) & set(PLACE_TEMPLATES["heldout"])


def test_every_sentence_of_both_halves_is_split() -> None:
    rng = np.random.default_rng(1)
    for forms in TEMPLATES.values():
        for form in forms:
            pick = form.fill("hold other things" if form.kind == "function" else "red mug")
            assert split_instruction(pick) == (pick, "")
            assert parse_place(pick) is None
            for relation in RELATIONS:
                place = place_instruction(rng, relation, "soap box")
                assert split_instruction(pick_place_instruction(rng, pick, place)) == (pick, place)


@pytest.mark.parametrize(
    ("text", "pick", "place"),
    [
        ("grasp the apple and put it near the cup", "grasp the apple", "put it near the cup"),
        ("get me a drink put it on top of the  red bowl ", "get me a drink", "put it on top of the red bowl"),
        ("grap suger,and then place this to the yellow_bowl.", "grap suger", "place this to the yellow_bowl"),
        ("I need a fruit. Please put it in a cup", "I need a fruit", "put it in a cup"),
        ("give me the cup, plase it near the pear", "give me the cup", "plase it near the pear"),
        ("", "", ""),
    ],
)
def test_people_write_otherwise(text: str, pick: str, place: str) -> None:
    assert split_instruction(text) == (pick, place)


def test_the_longest_relation_wins() -> None:
    assert parse_place("put it on top of the box") == PlacePhrase("on top of", "box")
    assert parse_place("put it on the top hat") == PlacePhrase("on", "top hat")
    assert parse_place("Move the object NEXT TO the lion!") == PlacePhrase("next to", "lion")
    assert parse_place("I want a pear, put it close to the apple") == PlacePhrase("close to", "apple")


def test_without_a_relation_the_whole_text_is_the_prompt() -> None:
    assert parse_place("put it down") is None
    assert reference_prompt("put it down") == "put it down"


def test_unknown_names_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UnknownNameError, match="unknown relation 'under'"):
        place_instruction(rng, "under", "cup")
    with pytest.raises(UnknownNameError, match="unknown wording"):
        place_instruction(rng, "on", "cup", "spoken")
