"""The text tower of any open_clip model, run so that every token's projected feature is kept, and vocabulary checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from srcli.language.spelling import words_of
from srcli.types import TextEmbedding

UNREAD = "~"
"""What an unread word is given to the embedded tower as: a token that occurs in no training, whose vector is zero."""

# A decision asks for one or two sentences; what reads hundreds at once does so once.
_KEPT = 2


def unknown_words(text: str, vocabulary: frozenset[str] | None) -> tuple[str, ...]:
    """Words of the sentence outside the declared vocabulary, each once, in order; none when no vocabulary is declared."""
    if vocabulary is None:
        return ()
    return tuple(dict.fromkeys(w for w in words_of(text) if w not in vocabulary))


def text_tower(model: Any) -> Any:
    """The module that holds the text tower: the model itself (CLIP) or its ``text`` (CustomTextCLIP)."""
    return getattr(model, "text", model)


def forward_text(model: Any, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Pooled and per-token features of tokenised sentences.

    Args:
        model: an open_clip model with a causal text transformer pooled at the end-of-text token (the largest id).
        ids: (B, L) token ids, L at most the context length.

    Returns:
        (B, D) pooled and (B, L, D) token features, both projected and of unit length. Position by position this is
        open_clip's ``encode_text``; cutting trailing padding changes nothing, because attention is causal.
    """
    tower = text_tower(model)
    length = ids.shape[1]
    cast = tower.transformer.get_cast_dtype()
    x = tower.token_embedding(ids).to(cast) + tower.positional_embedding[:length].to(cast)
    mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length].to(cast)
    x = tower.ln_final(tower.transformer(x, attn_mask=mask))
    projection = tower.text_projection
    x = projection(x) if isinstance(projection, torch.nn.Linear) else x @ projection
    tokens = functional.normalize(x.float(), dim=-1)
    pooled = tokens[torch.arange(ids.shape[0], device=ids.device), ids.argmax(dim=-1)]
    return pooled, tokens


def embed_texts(model: Any, tokenizer: Any, texts: Iterable[str], max_tokens: int, device: str) -> list[TextEmbedding]:
    """Sentences as :class:`TextEmbedding` with L = ``max_tokens`` rows.

    The start mark is masked out (in a causal transformer it has read nothing); words and the end mark are kept. Of a sentence
    with more tokens than rows the last row is the end mark, which has read all of it, as far as the model's context goes.
    """
    ids = tokenizer(list(texts)).to(device)
    if ids.shape[0] == 0:
        return []
    ends = ids.argmax(dim=-1).cpu().numpy()
    with torch.inference_mode():
        pooled, tokens = forward_text(model, ids[:, : int(ends.max()) + 1])
    pooled_np, tokens_np = pooled.cpu().numpy(), tokens.cpu().numpy()
    out = []
    for row, end in enumerate(ends):
        kept = np.zeros((max_tokens, pooled_np.shape[1]), np.float32)
        mask = np.zeros(max_tokens, np.bool_)
        last = min(int(end), max_tokens - 1)
        mask[1 : last + 1] = True
        kept[1:last] = tokens_np[row, 1:last]
        kept[last] = tokens_np[row, end]
        out.append(TextEmbedding(pooled_np[row].astype(np.float32), kept, mask))
    return out


class SentenceReader:
    """Sentences through a text tower, a decision's own once: an episode asks for them at every attempt.

    Args:
        model, tokenizer, max_tokens, device: as for :func:`embed_texts`. The model's weights must not change afterwards.
    """

    def __init__(self, model: Any, tokenizer: Any, max_tokens: int, device: str) -> None:
        self._embed = partial(embed_texts, model, tokenizer, max_tokens=max_tokens, device=device)
        # Whole requests are kept, not sentences: in another batch a sentence differs in its last bits.
        self._kept = lru_cache(maxsize=64)(self._embed)

    def __call__(self, texts: Sequence[str]) -> list[TextEmbedding]:
        """Each sentence's pooled and token features."""
        if len(texts) > _KEPT:
            return self._embed(texts)
        return [TextEmbedding(e.pooled.copy(), e.tokens.copy(), e.mask.copy()) for e in self._kept(tuple(texts))]
