"""Words that a query is told apart from, in the encoder's space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from srcli.errors import ConfigError
from srcli.learning.regions import unit
from srcli.methods.grounding.field import Looking
from srcli.types import F32


def word_vectors(encoder: Looking, words: Sequence[str], key: str) -> F32:
    """Embeddings (M, D) of words, of unit length.

    An encoder with a vocabulary of its own has no meaning for other words: what it gives for them would be noise.

    Args:
        key: parameter that they stand in, for the message.

    Raises:
        ConfigError: the encoder has never read one of them, or one has no direction (an empty text, for the embedded encoder).
    """
    for word in words:
        if unread := encoder.unknown_words(word):
            raise ConfigError(f"{key}: the encoder has never read '{unread[0]}'", "take other words, or an encoder of web text")
    vectors = unit(np.stack([each.pooled for each in encoder.text(list(words))]))
    for word, vector in zip(words, vectors, strict=True):
        if not np.isfinite(vector).all() or not vector.any():
            raise ConfigError(f"{key}: '{word}' means nothing to the encoder", "take other words")
    return vectors
