"""Vocabulary and templates: instruction <-> goal."""

from srcli.language.instructions import draw_keyword, make_reader, pick_instruction, sentences, unknown_words, vocabulary
from srcli.language.keywords import could_mean, keyword_table, synonyms
from srcli.language.relations import (
    PLACE_TEMPLATES,
    RELATIONS,
    PlacePhrase,
    Region,
    Relation,
    parse_place,
    pick_place_instruction,
    place_instruction,
    reference_prompt,
    split_instruction,
)
from srcli.language.spelling import Reader, Reading
from srcli.language.templates import KINDS, TEMPLATES, WORDINGS, KeywordKind, Template, Wording

__all__ = [
    "KINDS",
    "PLACE_TEMPLATES",
    "RELATIONS",
    "TEMPLATES",
    "WORDINGS",
    "KeywordKind",
    "PlacePhrase",
    "Reader",
    "Reading",
    "Region",
    "Relation",
    "Template",
    "Wording",
    "could_mean",
    "draw_keyword",
    "keyword_table",
    "make_reader",
    "parse_place",
    "pick_instruction",
    "pick_place_instruction",
    "place_instruction",
    "reference_prompt",
    "sentences",
    "split_instruction",
    "synonyms",
    "unknown_words",
    "vocabulary",
]
