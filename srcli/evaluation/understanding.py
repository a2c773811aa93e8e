"""What an encoder takes from a sentence, before any scene is seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from srcli.config.language import LanguageConfig
from srcli.language.denial import split_denied
from srcli.language.instructions import make_reader, names_something, vocabulary
from srcli.language.relations import RELATIONS, parse_place, reference_prompt, split_instruction
from srcli.language.spelling import Reading, words_of
from srcli.language.wordlists import FUNCTION_WORDS
from srcli.perception.encoders.interface import Encoder
from srcli.perception.pipeline import sentence
from srcli.types import F32, Phase

NAME_PROMPT = "give me the {}"
"""How a name of the catalogue is asked for."""

CLOSE = 0.65
"""Below this closeness a name is a guess. Of 84 sentences for development 3 have no closer name, deny nothing and describe
nothing; of 28 that want nothing, or what the catalogue has not ("good morning", "give me the piano"), 19."""


@dataclass(frozen=True, slots=True)
class Named:
    """A name of the catalogue and how close a half of the sentence is to it: cosine of the two in the joint space."""

    name: str
    closeness: float


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a sentence.

    Attributes:
        text: its words, as the encoder is given them.
        denied: what it does not want, of what is picked or of the reference; empty where it denies nothing.
        names: the closest names of the catalogue, the closest first. Those of a placement are of its reference.
        guess: whether even the closest one is far. Never said where something is denied, which takes from every closeness, nor
            where a word stands that objects are called or described by ("a red object", of which no single name is close), nor of
            an encoder of web text, whose cosines are of another scale.
    """

    text: str
    denied: str
    names: tuple[Named, ...]
    guess: bool

    def told(self) -> str:
        """The closest names with their numbers, and what is not wanted."""
        names = ", ".join(f"{named.name} {named.closeness:.2f}" for named in self.names)
        return f"{names}; but not: {self.denied}" if self.denied else names


@dataclass(frozen=True, slots=True)
class Understood:
    """What is taken from a sentence.

    Attributes:
        sentence, read_as: as it was said, and as the encoder is given it.
        corrected: (as typed, as read).
        unknown: words that say nothing to the encoder.
        something: whether any word that the encoder has read names an object, a kind, a look or a use; for an encoder of web
            text, whether there is any word but those that hold sentences together.
        pick, place: the halves; None where the sentence has none, or where nothing is understood.
        relation, region: relation word and what it asks for (in, on or around the reference); empty when none is read.
        reference: words of what the relation refers to.
    """

    sentence: str
    read_as: str
    corrected: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...]
    something: bool
    pick: Half | None
    place: Half | None
    relation: str
    region: str
    reference: str

    @property
    def guess(self) -> bool:
        """Whether what is taken, or where it is put, is a guess."""
        return any(half is not None and half.guess for half in (self.pick, self.place))

    def told(self, phase: Phase) -> str:
        """What is understood of one half, in a line; empty where the sentence has no such half."""
        half = self.pick if phase == "pick" else self.place
        if not self.something:
            return "understood nothing"
        if half is None:
            return ""
        place = f"{self.relation} {self.reference}: " if phase == "place" and self.relation else ""
        return f"{'a guess:' if half.guess else 'understood'} {place}{half.told()}"


class Listener:
    """What an encoder takes from sentences.

    Args:
        denied: how much of what a sentence denies is taken from what it wants; 0 reads it as it stands.
    """

    def __init__(self, encoder: Encoder, config: LanguageConfig, denied: float) -> None:
        self._encoder, self._denied = encoder, denied
        self.read = make_reader(encoder.vocabulary, config)

    @cached_property
    def _names(self) -> tuple[list[str], F32]:
        """Names of the catalogue, the user's own objects among them, and their (N, D) directions."""
        from srcli.objects import catalogue

        labels = list(dict.fromkeys(entry.label for entry in catalogue()))
        return labels, np.stack([named.pooled for named in self._encoder.text([NAME_PROMPT.format(label) for label in labels])])

    def names_something(self, reading: Reading) -> bool:
        """Whether anything of a sentence says what is wanted."""
        return names_something(reading.text, self._encoder.vocabulary)

    def __call__(self, said: str, count: int = 5) -> Understood:
        """What methods that use the encoder are told of a sentence.

        Args:
            count: closest names of each half.
        """
        reading = self.read(said)
        pick, place = split_instruction(reading.text)
        phrase = parse_place(reading.text)
        something = self.names_something(reading)
        return Understood(
            sentence=said,
            read_as=reading.text,
            corrected=reading.corrected,
            unknown=reading.unknown,
            something=something,
            pick=self._half(reading.text, pick, "pick", count) if pick and something else None,
            place=self._half(reading.text, place, "place", count) if place and something else None,
            relation="" if phrase is None else phrase.relation,
            region="" if phrase is None else RELATIONS[phrase.relation].region,
            reference="" if phrase is None else phrase.reference,
        )

    def _half(self, whole: str, text: str, phase: Phase, count: int) -> Half:
        labels, directions = self._names
        closeness = directions @ sentence(whole, self._encoder, phase, self._denied).pooled
        order = np.argsort(-closeness, kind="stable")[:count]
        denied = split_denied(text if phase == "pick" else reference_prompt(text)).told() if self._denied else ""
        names = tuple(Named(labels[i], round(float(closeness[i]), 3)) for i in order)
        far = self._encoder.vocabulary is not None and not denied and names[0].closeness < CLOSE
        described = (vocabulary() - FUNCTION_WORDS).intersection(words_of(text))
        return Half(text, denied, names, far and not described)
