"""Vocabulary and templates: instruction <-> goal."""

from srcli.language.instructions import draw_keyword, pick_instruction, sentences, unknown_words, vocabulary
from srcli.language.keywords import could_mean, keyword_table, synonyms
from srcli.language.templates import KINDS, TEMPLATES, WORDINGS, KeywordKind, Template, Wording

__all__ = [
    "KINDS",
    "TEMPLATES",
    "WORDINGS",
    "KeywordKind",
    "Template",
    "Wording",
    "could_mean",
    "draw_keyword",
    "keyword_table",
    "pick_instruction",
    "sentences",
    "synonyms",
    "unknown_words",
    "vocabulary",
]
