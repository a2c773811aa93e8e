"""Reading what people type."""

from __future__ import annotations

import pytest

from srcli.config.language import LanguageConfig
from srcli.language import make_reader, parse_place, split_instruction, vocabulary
from srcli.language.instructions import names_something, phrases
from srcli.language.spelling import Reader, _english, closest, is_rare, is_real, normalised, swapped, words_of
from srcli.language.wordlists import ABBREVIATIONS, FUNCTION_WORDS, VARIANTS, VERBS
from srcli.pretraining.encoder.variety import common_words

READ = Reader(vocabulary(), phrases())
WIDE = Reader(vocabulary() | FUNCTION_WORDS | set(common_words(12_000)), phrases())
"""As an encoder that has read the language of the web knows words."""


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
        ("giv me the pear", "give me the pear"),
        ("plase give me the pear", "please give me the pear"),
        ("put it nexto the pear", "put it next to the pear"),
        ("put it ontop of the box", "put it on top of the box"),
        ("put it naer the aple", "put it near the apple"),
        ("give me the suger, put it besdie the red mug", "give me the sugar, put it beside the red mug"),
    ],
)
def test_what_is_meant_is_read(typed: str, read: str) -> None:
    for reader in (READ, WIDE):
        reading = reader(typed)
        assert reading.text == read and reading.corrected and not set(reading.unknown) & vocabulary()


def test_with_many_words_the_usual_ones_are_meant_and_real_ones_stay() -> None:
    assert WIDE("give me the aple").text == "give me the apple"
    assert WIDE("a mosqito bit me").text == "a mosquito bit me"
    for text in ("the maker of the pear", "we sail to the island", "the tooth and the paste"):
        assert WIDE(text).text == text and not WIDE(text).unknown
    assert WIDE("give me the quxblorf").unknown == ("quxblorf",)


def test_only_the_misread_words_change_and_each_is_told_once() -> None:
    reading = READ("Give me the SUGER ,  the suger - put it next to the (aple)!")
    assert reading.text == "Give me the sugar ,  the sugar - put it next to the (apple)!"
    assert reading.corrected == (("SUGER", "sugar"), ("suger", "sugar"), ("aple", "apple"))
    twice = Reader({"soup", "sour", "lemon", "can"}, ("sour lemon", "soup can"))("soux lemon, soux can")
    assert twice.corrected == (("soux", "sour"), ("soux", "soup"))
    assert reading.told() == 'read "SUGER" as "sugar"; read "suger" as "sugar"; read "aple" as "apple"'
    assert split_instruction(reading.text)[1] == "put it next to the (apple)!"


def test_a_sentence_of_known_words_is_the_same_object_and_tells_nothing() -> None:
    for text in ("give me the apple", "I want a strawberry, put it near the apple", "", "   ", "?!"):
        reading = READ(text)
        assert reading.text is text and not reading.corrected and not reading.unknown and reading.told() == ""


def test_of_two_close_words_the_one_that_goes_with_its_neighbours_is_meant() -> None:
    known = {"soup", "sour", "lemon", "can", "the"}
    read = Reader(known, ("sour lemon", "soup can"))
    assert read("the soux lemon").text == "the sour lemon"
    assert read("the soux can").text == "the soup can"
    # Two unknown words beside each other settle each other.
    assert read("soux lemno").text == "sour lemon"


def test_real_words_are_never_read_as_other_words() -> None:
    """Whatever is near: "maker" is no marker, "pair" no pear. Forms of a word are that word."""
    for word in ("maker", "pair", "peach", "hummer", "shirts", "clip", "lime", "bear", "cap", "mop", "tap", "bowel", "handbag"):
        reading = READ(f"give me the {word}")
        assert reading.text == f"give me the {word}", word
        assert reading.unknown == (() if word in vocabulary() else (word,))
    # No form of a known word, although they end like one.
    alike = [
        "bowling",
        "capes",
        "canes",
        "plumes",
        "stares",
        "staring",
        "whiting",
        "leaves",
        "andes",
        "besides",
        "does",
        "molding",
        "panning",
        "orangery",
        "capital",
    ]
    for word in alike:
        assert is_real(word) and READ(f"near {word} it").text == f"near {word} it", word
    assert parse_place(READ("give me anything besides the apple").text) is None


@pytest.mark.parametrize(("typed", "read"), [("appel", "apple"), ("pera", "pear"), ("gte", "get")])
def test_a_word_that_hardly_anybody_writes_gives_way_to_a_usual_one_with_two_letters_swapped(typed: str, read: str) -> None:
    reading = READ(f"near {typed} it")
    assert is_real(typed) and is_rare(typed)
    assert reading.text == f"near {read} it" and reading.corrected == ((typed, read),)


@pytest.mark.parametrize("word", ["loin", "garb", "tsar", "lino", "form", "dose"])
def test_words_that_people_write_stay_though_they_are_usual_ones_with_two_letters_swapped(word: str) -> None:
    assert is_real(word) and not is_rare(word)
    assert READ(f"near {word} it").text == f"near {word} it"


def test_swapped() -> None:
    assert swapped("pera") == ("epra", "prea", "pear") and swapped("aab") == ("aba",) and swapped("yb") == ()


def test_of_english_words_only_forms_change() -> None:
    """Plurals, possessives, verbs in "-ing" and other spellings; each changed word begins like what it is read as."""
    changed = {word: READ(word).text for word in sorted(_english())[::4] if word not in vocabulary()}
    changed = {word: read for word, read in changed.items() if read != word and word not in (*VARIANTS, *ABBREVIATIONS)}
    assert 20 < len(changed) < 120
    for word, read in changed.items():
        if is_rare(word) and read in swapped(word):
            continue
        whole = read.replace(" ", "")
        plural = word in (f"{whole}s", f"{whole}es", f"{whole}'s", f"{whole[:-1]}ies")
        gerund = whole in VERBS and word in (f"{whole}ing", f"{whole[:-1]}ing", f"{whole}{whole[-1]}ing")
        spelt = len(word) in range(len(whole) - 1, len(whole) + 2) and word[:-3] == whole[: len(word) - 3]
        assert plural or gerund or spelt, (word, read)


@pytest.mark.parametrize("text", ["qxzvw", "xyzzy frobnicate", "拿苹果", "拿 香蕉", "Äpfel", "яблоко", "🍎", "dame la manzana"])
def test_what_is_near_nothing_stays_and_is_named_in_any_script(text: str) -> None:
    reading = READ(text)
    assert reading.text == text and not reading.corrected
    assert reading.unknown == words_of(text) and reading.told() == f"unknown: {', '.join(words_of(text))}"
    assert not names_something(reading.text, vocabulary())


def test_words_of_any_script_and_plain_quotes() -> None:
    assert words_of("Don\u2019t eat men's face-wash_2, 苹果!") == ("don", "t", "eat", "men's", "face", "wash", "2", "苹果")
    assert normalised("the \u201cmen\u2019s\u201d face\u200bwash\x00 now\n") == 'the "men\'s" facewash  now '
    assert READ("men\u2019s face wash").text == "men's face wash"


def test_words_are_joined_across_a_space_or_a_hyphen_only_and_never_with_a_relation() -> None:
    for text in (
        "pass me a straw, berry or pear",
        "tooth. paste",
        "tooth (paste)",
        "put it in side the red bowl",
        "an U-shaped thing",
    ):
        assert READ(text).text == text
    assert READ("put it in the tooth  paste").text == "put it in the toothpaste"


def test_what_names_something() -> None:
    for text in ("the flask", "the golden one", "the emerald thing", "the tv", "something to eat"):
        assert names_something(text, vocabulary() | {"flask", "golden", "emerald"}), text
    for text in ("do you have crocodiles with you", "put it into this", "", "?!"):
        assert not names_something(text, vocabulary()), text
    assert names_something("crocodile", None) and not names_something("?!", None) and not names_something("give me that", None)


def test_edits_are_few_and_short_words_are_left_alone() -> None:
    known = ("tea", "the", "lemon", "elephant", "racquetball")
    assert closest("teh", known) == [(1, "the")]
    assert closest("tex", known) == [] and closest("th", known) == [] and closest("giv", ("give", "gave")) == [(1, "give")]
    assert closest("lemmmn", known) == [(2, "lemon")] and closest("lxmxn", known) == []
    assert closest("rakketbal", known) == [] and closest("rackquetbal", known) == [(2, "racquetball")]
    assert is_real("hammer") and not is_real("hamer")


def test_of_a_very_long_text_the_beginning_is_read_and_nothing_is_lost() -> None:
    text = "give me the aple and qxzvw " * 400
    reading = READ(text)
    assert len(reading.text) >= len(text) and reading.text.startswith("give me the apple and qxzvw give")
    assert reading.text.endswith(text[-500:])
    assert len(READ("a" * 10_000).text) == 10_000 and READ("\u82f9\u679c" * 1200 + " suger").unknown == ("\u82f9\u679c" * 1000,)


def test_it_can_be_switched_off_and_encoders_without_a_vocabulary_take_every_sentence_as_it_is() -> None:
    said = "give me the \u201csuger\u201d"
    off = make_reader(vocabulary(), LanguageConfig(spelling="off"))(said)
    assert off.text is said and off.unknown == ("suger",) and not off.corrected
    typographic = "the \u201csuger\u201d"
    assert make_reader(None, LanguageConfig())(typographic).text is typographic
