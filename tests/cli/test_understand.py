"""``srcli understand``: one screen, or JSON, and honest about what says nothing."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.config.encoder import EncoderConfig
from srcli.errors import ConfigError
from srcli.evaluation.understanding import CLOSE, Listener
from srcli.language import KINDS, keyword_table, sentences
from srcli.objects import catalogue
from srcli.params import Params
from srcli.perception.encoders import load_encoder
from srcli.stages.understand import run

runner = CliRunner()


def screen(sentence: str, *more: str) -> list[str]:
    result = runner.invoke(app, ["understand", sentence, *more])
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def test_both_halves_the_relation_and_what_was_corrected() -> None:
    lines = screen("give me the suger, put it naer the aple")
    assert [line.split("  ")[0] for line in lines if not line.startswith(" ")] == [
        "said",
        "read as",
        "corrected",
        "pick",
        "place",
        "relation",
        "reference",
    ]
    assert '"suger" as "sugar", "naer" as "near", "aple" as "apple"' in lines[2]
    names = [line for line in lines if "closest names" in line]
    assert "closest names: sugar 1.00" in names[0] and "closest names: apple 1.00" in names[1]
    assert any(line.split() == ["relation", "near", "(around", "the", "reference)"] for line in lines)


def test_json_has_every_number() -> None:
    told = json.loads("\n".join(screen("I want a strawberry", "--json", "-n", "3")))
    assert told["place"] is None and told["relation"] == "" and told["corrected"] == [] and told["unknown"] == []
    names = told["pick"]["names"]
    assert names[0]["name"] == "strawberry" and len(names) == 3
    assert 1.0 >= names[0]["closeness"] > names[1]["closeness"] >= names[2]["closeness"]


@pytest.mark.parametrize("sentence", ["拿苹果", "🍎", "xyzzy frobnicate", "\x00\x07"])
def test_nothing_understood_is_said_and_no_name_is_guessed(sentence: str) -> None:
    lines = screen(sentence)
    assert lines[-1].startswith("understood") and "nothing: no word names an object" in lines[-1]
    assert not any("closest names" in line for line in lines)
    told = json.loads("\n".join(screen(sentence, "--json")))
    assert told["something"] is False and told["pick"] is None and told["place"] is None


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("crocodile", {"lion", "giraffe", "zebra", "rhinoceros", "small elephant"}),
        ("hamster", {"lion", "giraffe", "zebra", "rhinoceros", "small elephant"}),
        ("pencil", {"baoke marker", "black marker", "red marker"}),
    ],
)
def test_a_word_that_no_caption_has_lies_where_language_puts_it(word: str, near: set[str]) -> None:
    told = run(Params(), f"give me the {word}", count=3).pick
    assert told is not None and {named.name for named in told.names} <= near


@pytest.mark.parametrize("sentence", ["give me the piano", "good morning"])
def test_that_no_name_is_close_is_said(sentence: str) -> None:
    assert screen(sentence)[-1] == "unsure  no name is close: what is taken is a guess"
    assert not any("unsure" in line for line in screen("give me the lemon"))
    told = run(Params(), sentence)
    assert told.pick is not None and told.pick.guess and told.told("pick").startswith("a guess: ")


@pytest.mark.parametrize("weights", ["embedded", "seen-only"])
def test_no_sentence_of_the_package_is_called_a_guess(weights: str) -> None:
    """A colour, a kind or a use is said of many objects: no single name is close, and nothing is guessed."""
    listener = Listener(load_encoder(EncoderConfig(pretrained=weights)), Params().language, Params().cloud.denied)
    entries = catalogue()
    names = entries.seen if weights == "seen-only" else entries.names
    said = [sentences(kind, word)[0] for kind in KINDS for word in keyword_table(kind, names)]
    assert len(said) > 60
    found = {text: listener(text, 1) for text in said}
    assert [text for text in said if found[text].guess] == []
    assert sum(found[text].pick.names[0].closeness < CLOSE for text in said if found[text].pick is not None) > 5
    assert listener("good morning", 1).guess


def test_ten_thousand_characters_fit_one_screen() -> None:
    lines = screen("please give me the aple " * 420)
    assert len(lines) < 10 and max(map(len, lines)) < 260
    assert any("closest names: apple" in line for line in lines)
    typos = " ".join(f"{a}{b}ple" for a in "abcdefgh" for b in "abcdefghijklmn")
    assert max(map(len, screen(typos))) < 260 and max(map(len, screen("\u82f9" * 300))) < 260


@pytest.mark.parametrize("sentence", ["", "   ", "\n\t"])
def test_an_empty_sentence_is_refused_in_one_line(sentence: str) -> None:
    with pytest.raises(ConfigError, match="the sentence is empty"):
        run(Params(), sentence)
    result = runner.invoke(app, ["understand", sentence])
    assert result.exit_code == ConfigError.exit_code and result.stdout == ""


def test_a_line_for_pictures_says_what_a_half_means_and_does_not() -> None:
    found = run(Params(), "give me a fruit but not the lemon, put it near the apple", count=2)
    assert found.pick is not None and found.place is not None
    assert found.told("pick") == f"understood {found.pick.told()}" and found.told("pick").endswith("; but not: lemon")
    assert found.told("place").startswith("understood near apple: apple 1.00, ")
    assert run(Params(), "give me the lemon").told("place") == "" and run(Params(), "拿苹果").told("pick") == "understood nothing"
