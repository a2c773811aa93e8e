"""Stage ``understand``: what is taken from a sentence, before any scene is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from srcli.errors import ConfigError

if TYPE_CHECKING:
    from srcli.params import Params
    from srcli.perception.understanding import Understood


def run(params: Params, sentence: str, *, count: int = 5, device: str = "cpu") -> Understood:
    """What methods that use the encoder are told of a sentence.

    Args:
        count: closest names of each half.

    Raises:
        ConfigError: an empty sentence.
        MissingAssetError: weights of the encoder are not there.
    """
    from srcli.evaluation.understood import without_false_doubt
    from srcli.perception.encoders import load_encoder
    from srcli.perception.understanding import Listener

    if not sentence.strip():
        raise ConfigError("the sentence is empty", 'say what to do, for example: srcli understand "give me the apple"')
    listener = Listener(load_encoder(params.encoder, device), params.language, params.cloud.denied)
    return without_false_doubt(listener(sentence, count))
