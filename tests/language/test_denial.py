"""What a sentence does not want."""

from __future__ import annotations

import pytest

from srcli.language.denial import Wish, split_denied
from srcli.language.phrases import FORMS, FRAMES
from srcli.language.relations import PLACE_TEMPLATES
from srcli.language.templates import TEMPLATES


@pytest.mark.parametrize(
    ("said", "wanted", "denied"),
    [
        ("a bottle, not the blue one", "a bottle", "blue one"),
        ("give me a fruit but not the pear", "give me a fruit", "pear"),
        ("any tool except for the hammer, please", "any tool, please", "hammer"),
        ("a box that isn't pink", "a box", "pink"),
        ("a toy which has no wheel", "a toy", "wheel"),
        ("I don't want the drill, give me the screwdriver", "give me the screwdriver", "drill"),
        ("Don't take the knife, the scissors will do", "the scissors will do", "knife"),
        ("something to eat, but no lemon", "something to eat", "lemon"),
        ("the cream in the jar, not in the bottle", "the cream in the jar", "bottle"),
        ("not the red marker, another one", "another one marker", "red marker"),
        ("the bowl rather than the cup", "the bowl", "cup"),
        ("a carton without a lid and quickly", "a carton and quickly", "lid"),
        ("a toy but not the wing", "a toy", "wing"),
        ("the cup, not the bowling ball", "the cup", "bowling ball"),
        ("something soft without the spring", "something soft", "spring"),
    ],
)
def test_what_is_denied_is_taken_out(said: str, wanted: str, denied: str) -> None:
    assert split_denied(said) == Wish(wanted, (denied,))


@pytest.mark.parametrize(
    ("said", "wanted", "denied"),
    [
        ("a fruit, not the apple, not the pear", "a fruit", ("apple", "pear")),
        ("a fruit but no apple and no pear, please", "a fruit, please", ("apple", "pear")),
        ("a container but not the cup and not the mug", "a container", ("cup", "mug")),
        ("a tool except the hammer or the drill", "a tool", ("hammer", "drill")),
        ("a cup that is not red, not the mug", "a cup", ("red", "mug")),
        ("not the red marker, not the blue marker, another one", "another one marker", ("red marker", "blue marker")),
        ("anything to eat, but no lemon and no pear  , thanks", "anything to eat, thanks", ("lemon", "pear")),
    ],
)
def test_all_that_is_denied_is_taken_out(said: str, wanted: str, denied: tuple[str, ...]) -> None:
    wish = split_denied(said)
    assert wish.wanted == wanted and sorted(wish.denied) == sorted(denied)
    assert sorted(wish.told().split(" or ")) == sorted(denied)


@pytest.mark.parametrize(
    "said",
    [
        "give me the apple",
        "I am not sure, but the pear would be nice",
        "if not the apple then nothing",
        "I do not want to be a nuisance, the lemon please",
        "this is not too far away, the mug",
        "not only one",
        "hold a hot drink without burning my fingers",
        "the cheese board is ready except for something to cut with",
        "I don't like being bitten by mosquitoes",
        "I have not had an apple today",
        "a tool that needs no electricity",
        "",
        "not",
        "no",
        "not the apple, not the pear",
        "the cup but not  , thanks",
        "a knife without cutting myself",
        "not " * 40,
    ],
)
def test_other_sentences_stay_as_they_are(said: str) -> None:
    assert split_denied(said) == Wish(said)


def test_no_sentence_of_the_templates_denies_anything() -> None:
    texts = [form.text.format("red mug", a="a") for forms in TEMPLATES.values() for form in forms]
    texts += [form.format("next to", "red mug") for forms in PLACE_TEMPLATES.values() for form in forms]
    words = {"noun": "cup", "word": "red", "reference": "box"}
    phrases = [form.format(**words) for forms in FORMS.values() for group in forms.values() for form in group]
    texts += [frame.format(phrase) for frames in FRAMES.values() for frame in frames for phrase in phrases]
    for text in texts:
        assert split_denied(text) == Wish(text), text
