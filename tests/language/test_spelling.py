"""Reading what people type."""

from __future__ import annotations

import itertools

import pytest

from srcli.config.language import LanguageConfig
from srcli.language import make_reader, split_instruction, vocabulary
from srcli.language.instructions import names_something, phrases
from srcli.language.spelling import Reader, closest, forms, is_real, normalised, words_of

READ = Reader(vocabulary(), phrases())


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("give me the suger", "give me the sugar"),
        ("give me the aple", "give me the apple"),
        ("get teh elefant", "get the elephant"),
        ("I need a screwdirver", "I need a screwdriver"),
        ("shcissors", "scissors"),
        ("give me the lemons", "give me the lemon"),
        ("the two knives", "the two knife"),
        ("the lion's", "the lion"),
        ("get something for cutting", "get something for cut"),
        ("pass the tooth paste", "pass the toothpaste"),
        ("the tooth-paste", "the toothpaste"),
        ("a screw driver", "a screwdriver"),
        ("soapdish", "soap dish"),
        ("a lemon, plz", "a lemon, please"),
        ("gimme a pear", "give me a pear"),
        ("an ice mold", "an ice mould"),
        ("put it naer the aple", "put it near the apple"),
        ("give me the suger, put it besdie the red mug", "give me the sugar, put it beside the red mug"),
    ],
)
def test_what_is_meant_is_read(typed: str, read: str) -> None:
    reading = READ(typed)
    assert reading.text == read and reading.corrected and not set(reading.unknown) & vocabulary()


def test_only_the_misread_words_change_and_each_is_told_once() -> None:
    reading = READ("Give me the SUGER ,  the suger - put it next to the (aple)!")
    assert reading.text == "Give me the sugar ,  the sugar - put it next to the (apple)!"
    assert reading.corrected == (("SUGER", "sugar"), ("suger", "sugar"), ("aple", "apple"))
    assert reading.told() == 'read "SUGER" as "sugar"; read "suger" as "sugar"; read "aple" as "apple"'
    assert split_instruction(reading.text)[1] == "put it next to the (apple)!"


def test_a_sentence_of_known_words_is_the_same_object_and_tells_nothing() -> None:
    for text in ("give me the apple", "I want a strawberry, put it near the apple", "", "   ", "?!"):
        reading = READ(text)
        assert reading.text is text and not reading.corrected and not reading.unknown and reading.told() == ""


def test_of_two_close_words_the_one_that_goes_with_its_neighbours_is_meant() -> None:
    known = {"power", "cover", "drill", "peeler", "the"}
    read = Reader(known, ("power drill", "peeler cover"))
    assert read("the pover drill").text == "the power drill"
    assert read("the peeler pover").text == "the peeler cover"
    # Two unknown words beside each other settle each other.
    assert read("pover dril").text == "power drill"


def test_real_words_are_never_read_as_other_words() -> None:
    """Whatever is near: "maker" is no marker, "pair" no pear. Forms of a word are that word."""
    for word in ("maker", "pair", "peach", "hummer", "shirts", "clip", "lime", "bear", "cap", "mop", "tap", "bowel", "handbag"):
        reading = READ(f"give me the {word}")
        assert reading.text == f"give me the {word}", word
        assert reading.unknown == (() if word in vocabulary() else (word,))
    words = [word for word in itertools.islice(sorted(_real_words()), 0, None, 97) if word not in vocabulary()]
    assert len(words) > 1000
    for word in words:
        read = READ(word).text
        assert read == word or read in forms(word), word


def _real_words() -> frozenset[str]:
    from srcli.language.spelling import _english

    return frozenset(word for word in _english() if word.isalpha())


@pytest.mark.parametrize("text", ["qxzvw", "xyzzy frobnicate", "拿苹果", "拿 香蕉", "Äpfel", "яблоко", "🍎", "dame la manzana"])
def test_what_is_near_nothing_stays_and_is_named_in_any_script(text: str) -> None:
    reading = READ(text)
    assert reading.text == text and not reading.corrected
    assert reading.unknown == words_of(text) and reading.told() == f"unknown: {', '.join(words_of(text))}"
    assert not names_something(reading.text)


def test_words_of_any_script_and_plain_quotes() -> None:
    assert words_of("Don\u2019t eat men's face-wash_2, 苹果!") == ("don", "t", "eat", "men's", "face", "wash", "2", "苹果")
    assert normalised("the \u201cmen\u2019s\u201d face\u200bwash\x00 now\n") == 'the "men\'s" facewash  now '
    assert READ("men\u2019s face wash").text == "men's face wash"


def test_edits_are_few_and_short_words_are_left_alone() -> None:
    known = ("tea", "the", "lemon", "elephant", "racquetball")
    assert closest("teh", known) == [(1, "the")]
    assert closest("tex", known) == [] and closest("th", known) == []
    assert closest("lemmmn", known) == [(2, "lemon")] and closest("lxmxn", known) == []
    assert closest("rakketbal", known) == [] and closest("rackquetbal", known) == [(2, "racquetball")]
    assert is_real("hammer") and not is_real("hamer")


def test_a_very_long_text_is_read_quickly_and_nothing_is_lost() -> None:
    text = "give me the aple and qxzvw " * 400
    reading = READ(text)
    assert len(reading.text) >= len(text) and reading.text.startswith("give me the apple and qxzvw give")
    assert reading.text.endswith(text[-500:])
    assert len(READ("a" * 10_000).text) == 10_000


def test_it_can_be_switched_off_and_encoders_without_a_vocabulary_take_every_sentence_as_it_is() -> None:
    off = make_reader(vocabulary(), LanguageConfig(spelling="off"))("give me the suger")
    assert off.text == "give me the suger" and off.unknown == ("suger",) and not off.corrected
    typographic = "the \u201csuger\u201d"
    assert make_reader(None, LanguageConfig())(typographic).text is typographic
