"""What every encoder offers, whatever its towers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from srcli.types import F32, U8, TextEmbedding


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What makes features comparable: two encoders with equal identity give the same features.

    Attributes:
        name: as in the configuration.
        sha256: of the weights (of the file, or of the tensors where a hub or tag names them).
        dim: D, width of the joint space.
        route: "conv" (trunk features, projected) or "maskclip" (last block reduced to value and output projection).
        image: preprocessing in words and numbers: tiles, size, mean, standard deviation.
        precision: "fp32", "bf16" or "fp16", of the image tower.
        max_tokens: rows of a token embedding.
        parents: sha256 of the weights that these were taught from, nearest last; the joint space is theirs, with more names.
    """

    name: str
    sha256: str
    dim: int
    route: str
    image: str
    precision: str
    max_tokens: int
    parents: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for attributes of artifacts; no key ``parents`` where there are none."""
        plain = {**asdict(self), "parents": list(self.parents)}
        if not self.parents:
            del plain["parents"]
        return plain


@dataclass(frozen=True, slots=True)
class DenseFeatures:
    """Features on a regular grid over the whole image.

    Attributes:
        values: (M, h, w, D) float32, unit length. Cell (i, j) covers the image's pixels [i H / h, (i + 1) H / h) by
            [j W / w, (j + 1) W / w); its value belongs to the centre of that area.
    """

    values: F32


class Encoder(Protocol):
    """An image-text model with a joint space of width ``dim``."""

    @property
    def identity(self) -> EncoderIdentity:
        """What the features depend on."""

    @property
    def dim(self) -> int:
        """D, width of the joint space."""

    @property
    def vocabulary(self) -> frozenset[str] | None:
        """The words that it was trained with; None for encoders trained on web text."""

    def dense(self, rgb: U8) -> DenseFeatures:
        """Features of M views.

        Args:
            rgb: (M, H, W, 3) uint8.

        Raises:
            SceneError: not an array of colour images.
        """

    def text(self, texts: Sequence[str]) -> list[TextEmbedding]:
        """Each sentence's pooled and token features, in the order given."""

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """Words outside the vocabulary that the encoder was trained with; none for encoders trained on web text."""
