"""The catalogue: counts, words that are true, errors that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from srcli.errors import ArtifactError, UnknownNameError
from srcli.objects import Catalogue, build, catalogue, color_shares, color_words, describe, load_catalogue

SEEN_IDS = """
002 005 006 007 008 009 011 012 013 014 015 016 017 018 020 021 022 024 026 027 028 029 030 031 032 034 037 038 039 040 041 042
043 044 045 047 050 052 053 055 057 058 059 061 062 064 066 067 068 070 072 073 074 075 076 077 078 079 080 081 082 083 084 085
086 087
"""
UNSEEN = """
black_marker bleach_cleanser blue_moon gelatin_box magic_clean pink_tea_box red_marker remote_controller_1 repellent shampoo
small_clamp soap_dish suger_1 suger_2 two_color_hammer yellow_bowl yellow_cup
"""
DOMINANT = 0.45


def ids(keyword: str, kind: str) -> set[str]:
    shop = catalogue()
    return {shop[n].graspnet_id or n for n in shop.matching(keyword, kind)}  # type: ignore[arg-type]


BENCHMARK = {*SEEN_IDS.split(), *UNSEEN.split()}
"""What the tables below speak of: objects that are added stay out of them."""


def test_sets_hold_those_of_the_benchmark() -> None:
    shop = catalogue()
    assert len(BENCHMARK) == 83
    seen, unseen = {shop[n].graspnet_id or n for n in shop.seen}, set(shop.unseen)
    assert seen >= set(SEEN_IDS.split()) and not seen & set(UNSEEN.split())
    assert unseen >= set(UNSEEN.split()) and not unseen & set(shop.seen)
    assert shop.by_graspnet_id("005").name == "banana"
    assert catalogue() is shop


@pytest.mark.parametrize(
    ("keyword", "kind", "expected"),
    [
        ("fruit", "general", {"005", "011", "012", "013", "014", "015", "016", "017"}),
        ("eat", "function", {"005", "011", "012", "013", "014", "015", "016", "017"}),
        ("container", "general", {"006", "007", "022", "soap_dish", "yellow_cup", "yellow_bowl"}),
        ("hold other things", "function", {"006", "007", "022", "soap_dish", "yellow_cup", "yellow_bowl"}),
        ("cup", "general", {"022", "yellow_cup"}),
        ("sugar", "general", {"suger_1", "suger_2"}),
        ("sugar", "label", {"suger_1", "suger_2"}),
        ("ball", "general", {"021"}),
        ("yellow", "attribute", {"005", "013", "028", "031", "yellow_bowl", "yellow_cup"}),
    ],
)
def test_keyword_tables(keyword: str, kind: str, expected: set[str]) -> None:
    assert ids(keyword, kind) & BENCHMARK == expected


@pytest.mark.parametrize(
    ("keyword", "kind", "at_least"),
    [
        ("red", "attribute", {"011", "012", "red_marker"}),
        ("round", "attribute", {"016", "017", "021"}),
        ("drink", "function", {"057"}),
        ("play", "function", {"024", "026", "027", "028", "029", "030", "031"}),
        ("clean", "function", {"bleach_cleanser", "blue_moon", "magic_clean", "shampoo"}),
        ("toy", "general", {"024", "026", "031", "075", "087"}),
    ],
)
def test_keyword_tables_are_contained(keyword: str, kind: str, at_least: set[str]) -> None:
    assert at_least <= ids(keyword, kind)


def test_colour_words_are_those_that_dominate() -> None:
    for entry in catalogue():
        dominant = {word for word, share in color_shares(entry).items() if share >= DOMINANT}
        assert set(entry.attributes) & color_words() == dominant, f"{entry.name}: {color_shares(entry)}"


def test_colour_in_a_label_is_the_main_colour() -> None:
    for entry in catalogue():
        named = set(entry.label.split()) & color_words()
        if entry.names_color and named and entry.name != "orange":
            assert entry.colors[0] in named, entry.name


def test_round_and_cuboid_follow_the_shape() -> None:
    for entry in catalogue():
        size = sorted(build(entry).extent)
        if "round" in entry.attributes:
            assert size[0] > 0.7 * size[2], entry.name
        boxes = len(entry.parts) > 1 and entry.parts[0].shape == "box" and not any(p.solid for p in entry.parts[1:])
        if boxes and "remote" not in entry.name:
            assert "cuboid" in entry.attributes, entry.name


def test_words_of_a_kind_do_not_collide() -> None:
    for entry in catalogue():
        assert entry.label not in entry.synonyms
        assert not set(entry.attributes) & set(entry.general), entry.name
    labels = [e.label for e in catalogue() if e.label != "sugar"]
    assert len(labels) == len(set(labels))


def test_description_of_the_catalogue_instance_is_the_entry() -> None:
    for entry in catalogue():
        words = describe(entry)
        assert (words.label, words.attributes, words.functions) == (entry.label, entry.attributes, entry.functions)


def test_unknown_names_suggest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        catalogue()["bananna"]
    assert "did you mean 'banana'" in caught.value.hint
    with pytest.raises(UnknownNameError):
        catalogue().by_graspnet_id("999")


GOOD = """
- name: brick
  label: brick
  category: brick
  mass: 0.2
  parts:
    - {shape: box, color: red, size: [50, 40, 30]}
"""


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (("mass: 0.2", "mass: heavy"), "mass"),
        (("color: red", "color: reddish"), "reddish"),
        (("shape: box", "shape: bax"), "parts.0"),
        (("size: [50, 40, 30]", "size: [50, 40]"), "size"),
        (("mass: 0.2", "wieght: 0.2"), "mass"),
        (("parts:", "parts: ["), "YAML"),
    ],
)
def test_damaged_entries_name_file_entry_and_field(tmp_path: Path, damage: tuple[str, str], word: str) -> None:
    path = tmp_path / "extra.yaml"
    path.write_text(GOOD)
    assert load_catalogue([path]).names == ("brick",)
    path.write_text(GOOD.replace(*damage))
    with pytest.raises(ArtifactError) as caught:
        load_catalogue([path])
    assert "extra.yaml" in caught.value.message and word in caught.value.message
    assert word == "YAML" or "brick" in caught.value.message


def test_missing_file_duplicates_and_impossible_shapes(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_catalogue([tmp_path / "absent.yaml"])
    path = tmp_path / "twice.yaml"
    path.write_text(GOOD + GOOD)
    with pytest.raises(ArtifactError, match="twice"):
        load_catalogue([path])
    path.write_text(GOOD.replace("size: [50, 40, 30]", "size: [50, 40, 0]"))
    with pytest.raises(ArtifactError, match="brick"):
        build(load_catalogue([path])["brick"])
    path.write_text("name: brick")
    with pytest.raises(ArtifactError, match="must be a list"):
        load_catalogue([path])
    assert isinstance(catalogue(), Catalogue)
