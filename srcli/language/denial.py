"""What a sentence does not want: "a mug, not a cup", "fruit that is not red", "anything to drink but no coconut".

A sentence's one direction in the joint space lies near everything that is named in it, wanted or not. So what is denied is taken
out of the sentence and given by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from srcli.language.instructions import vocabulary
from srcli.language.wordlists import FUNCTION_WORDS

_ARTICLE = r"(?:(?:the|a|an|any|some|in|with|for)\s+)*"
_THING = r"(?P<denied>[^,;.!?]+?)(?=$|[,;.!?]|\s+(?:please|but|and)\b)"
_AUXILIARIES = "am are can could did do does had has have if is may might must or shall should was were why will would"
_NO_AUXILIARY = "".join(rf"(?<!\b{word} )" for word in _AUXILIARIES.split())
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        # "which is not red", "that needs no electricity"
        rf"\b(?:that|which)\s+(?:is\s+not|isn't|is\s+no|are\s+not|aren't|has\s+no|have\s+no|needs\s+no|need\s+no|does\s+not|doesn't|"
        rf"do\s+not|don't|cannot|can't)\s+{_ARTICLE}{_THING}",
        # "I don't want the red one", "don't give me a cup"
        rf"\b(?:i|we)\s+(?:do\s+not|don't)\s+(?:want|need|mean)\s+{_ARTICLE}{_THING}",
        rf"(?:(?<=^)|(?<=[,;.!?])\s*)(?:please\s+)?(?:do\s+not|don't|never)\s+(?:give\s+me|take|touch|bring|pick\s+up|pick|grasp)\s+"
        rf"{_ARTICLE}{_THING}",
        # "but not the zebra", "apart from the orange"
        rf"\b(?:(?:but|and|just|only)\s+)*(?:{_NO_AUXILIARY}not|except\s+for|except|apart\s+from|other\s+than|rather\s+than|instead\s+of|"
        rf"excluding|without)\s+{_ARTICLE}{_THING}",
        # ", no bleach", "but no cup", "and no saucer"
        rf"(?:[,;]\s*(?:(?:but|and)\s+)?|\b(?:but|and)\s+)no\s+{_THING}",
    )
)
_MOST_WORDS = 5
_OTHERWISE = frozenset(["to", "too", "so", "my", "our", "your", "its", "something", "anything", "need"])
"""Words before which a denial is of another sort: of a size, of a matter of course, of what was never asked for."""
_EMPTY = FUNCTION_WORDS | {"another", "different", "please"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a sentence wants.

    Attributes:
        wanted: the sentence without what it denies.
        denied: what is not to be taken, each thing by itself; empty where nothing is denied.
    """

    wanted: str
    denied: tuple[str, ...] = ()

    def told(self) -> str:
        """All that is denied, in words."""
        return " or ".join(self.denied)


def split_denied(text: str) -> Wish:
    """Take what is denied out of a sentence.

    Only what the catalogue has a word for, a name, a kind, a look or a use, is taken for denied: "without burning my fingers"
    says what for, not what not. Where nothing else is named ("not the black marker, the other one") another of its kind is
    wanted, which its last word names.
    """
    wanted, denied = text, list[str]()
    while (found := _denial(wanted)) is not None:
        wanted = found.wanted
        denied += found.denied
    if denied and _names_nothing(wanted):
        kind = next((words[-1] for words in map(str.split, denied) if len(words) > 1), "")
        return Wish(f"{wanted} {kind}", tuple(denied)) if kind else Wish(text)
    return Wish(wanted, tuple(denied))


def _denial(text: str) -> Wish | None:
    """The first denial of a sentence, and the rest of it; None where it has none."""
    named = vocabulary() - _EMPTY
    for form in _FORMS:
        for found in form.finditer(text):
            denied = found["denied"].strip()
            words = denied.lower().split()
            how = text[found.start() : found.start("denied")].lower().split()
            doing = words and words[0].endswith("ing") and how[-1:] in (["without"], ["of"], ["than"])
            if not words or len(words) > _MOST_WORDS or words[0] in _OTHERWISE or doing or not named & {*words}:
                continue
            rest = f"{text[: found.start()]} {text[found.end() :]}"
            rest = re.sub(r"\s+([,;.!?])", r"\1", re.sub(r"\s+", " ", rest))
            return Wish(re.sub(r"[,;](?=[,;.!?])", "", rest).strip(" ,;"), tuple(re.split(rf"\s+n?or\s+{_ARTICLE}", denied)))
    return None


def _names_nothing(text: str) -> bool:
    return set(re.findall(r"[^\W\d_]+", text.lower())) <= _EMPTY
