"""YAML of people's files: YAML 1.2's numbers and words, and limits that hold before anything is built."""

import time

import pytest

from srcli.config.yamltext import DEEPEST, MOST_VALUES, parse_yaml
from srcli.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("-007", -7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2001-12-31", "2001-12-31"),
        ("1e-4", 0.0001),
        (".5", 0.5),
        ("on", "on"),
        ("True", True),
        ("~", None),
        ("'12'", "12"),
        ("!!float 3", 3.0),
        ("!!str 3", "3"),
        ("[1, a, {b: 2}]", [1, "a", {"b": 2}]),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("", None),
    ],
)
def test_values_of_yaml_1_2(text, value):
    found = parse_yaml(text, "x")
    assert found == value and type(found) is type(value)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, f"more than {MOST_VALUES} values"),
        ("train: &a {x: *a}", "names nothing that is complete"),
        ("!!int foo", "'foo' is no int"),
        ("[" * 2000, f"more than {DEEPEST} levels"),
        ("- " * 2000 + "a", f"more than {DEEPEST} levels"),
        ("1" * 5000, "a number of 5000 characters"),
        ("9" * 30, "exceeds 64 bits"),
        ("!!python/object:os.system x", "is not known"),
        ("!!timestamp 2001-99-99", "is not known"),
        ("a: 1\na: 2", "line 2: not valid YAML: key 'a' stands twice"),
        ("1: 2", "key 1 is not a word"),
        ('"\\0"', "a character that no text has"),
        ("--- 1\n--- 2", "a second document"),
        ("\udc80", "not UTF-8"),
        ("\x01", "not valid YAML"),
    ],
)
def test_refused_at_once(text, said):
    start = time.monotonic()
    with pytest.raises(ConfigError, match=said) as caught:
        parse_yaml(text, "x.yaml")
    assert time.monotonic() - start < 1
    assert caught.value.message.startswith("x.yaml:") and len(caught.value.message) < 400
