"""Words of English that the reading of sentences knows by list: short forms, spellings, words that name nothing, verbs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ABBREVIATIONS: Mapping[str, str] = MappingProxyType(
    {
        "pls": "please",
        "plz": "please",
        "pleez": "please",
        "plase": "please",
        "teh": "the",
        "gimme": "give me",
        "lemme": "let me",
        "wanna": "want to",
        "gotta": "have to",
        "thx": "thanks",
        "tnx": "thanks",
        "tele": "tv",
        "nexto": "next to",
        "ontop": "on top",
        "closeto": "close to",
    }
)
"""What people type instead of a word or two."""

VARIANTS: Mapping[str, str] = MappingProxyType(
    {
        "mold": "mould",
        "molds": "mould",
        "gray": "grey",
        "tinned": "tin",
        "aeroplane": "airplane",
        "mice": "mouse",
        "teeth": "tooth",
        "knives": "knife",
        "loaves": "loaf",
        "shelves": "shelf",
    }
)
"""British and American spellings, and plurals, that no rule covers."""

FUNCTION_WORDS = frozenset(
    [
        "a", "about", "across", "after", "all", "along", "alongside", "also", "always", "am", "an", "and", "any", "anything",
        "are", "around", "as", "ask", "at", "away", "back", "be", "because", "been", "before", "behind", "being", "below",
        "beside", "besides", "between", "both", "bring", "but", "by", "can", "choose", "close", "come", "could", "do", "does",
        "don", "down", "each", "else", "every", "everything", "fetch", "find", "first", "for", "from", "front", "fun", "get",
        "give", "go", "grab", "grasp", "had", "hand", "has", "have", "he", "hello", "help", "helps", "her", "here", "him",
        "his", "how", "i", "if", "in", "inside", "into", "is", "it", "item", "items", "its", "just", "keep", "kindly", "last",
        "lay", "leave", "let", "lets", "lift", "like", "look", "looking", "looks", "made", "make", "makes", "may", "me",
        "middle", "mine", "must", "my", "near", "need", "needs", "never", "next", "no", "not", "nothing", "now", "object",
        "objects", "of", "off", "on", "one", "only", "onto", "or", "other", "others", "our", "out", "over", "pass", "people",
        "photo", "pick", "piece", "place", "please", "put", "quite", "reach", "robot", "see", "set", "shape", "she", "should",
        "show", "so", "some", "someone", "something", "surrounding", "table", "take", "than", "thanks", "that", "the", "their",
        "them", "then", "there", "these", "they", "thing", "things", "this", "those", "through", "to", "together", "too", "top",
        "toward", "two", "under", "until", "up", "upside", "us", "use", "used", "very", "want", "was", "we", "were", "what",
        "whatever", "when", "where", "which", "while", "who", "whose", "why", "will", "with", "without", "would", "yes", "you",
        "your",
    ]
)  # fmt: skip
"""Words that hold a sentence together and name nothing."""

VERBS = frozenset(
    [
        "bite", "change", "clean", "cut", "draw", "drill", "drink", "drive", "eat", "hit", "hold", "keep", "lock", "make",
        "peel", "play", "sip", "slice", "store", "wash", "write",
    ]
)  # fmt: skip
"""What one does with things: of these alone "-ing" is a form ("cutting"; a "bowling" ball is no bowl)."""
