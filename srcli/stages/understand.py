"""Stage ``understand``: what is taken from a sentence, before any scene is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from srcli.errors import ConfigError
from srcli.language.denial import split_denied
from srcli.language.instructions import make_reader, names_something
from srcli.language.relations import RELATIONS, parse_place, reference_prompt, split_instruction

if TYPE_CHECKING:
    from srcli.params import Params
    from srcli.perception.encoders.interface import Encoder
    from srcli.types import Phase


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
    """

    text: str
    denied: str
    names: tuple[Named, ...]


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


def run(params: Params, sentence: str, *, count: int = 5, device: str = "cpu") -> Understood:
    """What methods that use the encoder are told of a sentence.

    Args:
        count: closest names of each half.

    Raises:
        ConfigError: an empty sentence.
        MissingAssetError: weights of the encoder are not there.
    """
    from srcli.perception.encoders import load_encoder

    if not sentence.strip():
        raise ConfigError("the sentence is empty", 'say what to do, for example: srcli understand "give me the apple"')
    encoder = load_encoder(params.encoder, device)
    reading = make_reader(encoder.vocabulary, params.language)(sentence)
    pick, place = split_instruction(reading.text)
    phrase = parse_place(reading.text)
    something = names_something(reading.text, encoder.vocabulary)
    return Understood(
        sentence=sentence,
        read_as=reading.text,
        corrected=reading.corrected,
        unknown=reading.unknown,
        something=something,
        pick=_half(params, encoder, reading.text, pick, "pick", count) if pick and something else None,
        place=_half(params, encoder, reading.text, place, "place", count) if place and something else None,
        relation="" if phrase is None else phrase.relation,
        region="" if phrase is None else RELATIONS[phrase.relation].region,
        reference="" if phrase is None else phrase.reference,
    )


def _half(params: Params, encoder: Encoder, whole: str, text: str, phase: Phase, count: int) -> Half:
    from srcli.objects import catalogue
    from srcli.perception.pipeline import sentence
    from srcli.probing.encoder import NAME_PROMPT

    labels = list(dict.fromkeys(catalogue()[name].label for name in catalogue().names))
    directions = np.stack([named.pooled for named in encoder.text([NAME_PROMPT.format(label) for label in labels])])
    closeness = directions @ sentence(whole, encoder, phase, params.cloud.denied).pooled
    order = np.argsort(-closeness, kind="stable")[:count]
    denied = split_denied(text if phase == "pick" else reference_prompt(text)).denied if params.cloud.denied else ""
    return Half(text, denied, tuple(Named(labels[i], round(float(closeness[i]), 3)) for i in order))
