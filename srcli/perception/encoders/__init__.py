"""Image-text encoders behind one interface: dense patch features and sentences in one joint space."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srcli.config.encoder import EncoderConfig
    from srcli.perception.encoders.interface import Encoder


def load_encoder(config: EncoderConfig, device: str = "cpu") -> Encoder:
    """The encoder that the configuration names; see :func:`srcli.perception.encoders.loading.load_encoder`.

    torch and open_clip are imported here, not with the package.
    """
    from srcli.perception.encoders import loading

    return loading.load_encoder(config, device)
