"""Stage ``understand``: what is taken from a sentence, before any scene is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from srcli.errors import ConfigError

if TYPE_CHECKING:
    from srcli.evaluation.understanding import Understood
    from srcli.params import Params


def run(params: Params, sentence: str, *, count: int = 5, device: str = "cpu") -> Understood:
    """What methods that use the encoder are told of a sentence.

    Args:
        count: closest names of each half.

    Raises:
        ConfigError: an empty sentence.
        MissingAssetError: weights of the encoder are not there.
    """
    from srcli.evaluation.understanding import Listener
    from srcli.perception.encoders import load_encoder

    if not sentence.strip():
        raise ConfigError("the sentence is empty", 'say what to do, for example: srcli understand "give me the apple"')
    listener = Listener(load_encoder(params.encoder, device), params.language, params.cloud.denied)
    return listener(sentence, count)
