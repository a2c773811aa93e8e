"""Text tower, vocabulary checks, identity of the text route."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from srcli.language.spelling import words_of
from srcli.perception.encoders.embedded import create_model
from srcli.perception.encoders.text import SentenceReader, embed_texts, forward_text, unknown_words

TEXTS = ["give me the mug", "get something to hold other things", "red"]


@pytest.fixture(scope="module")
def model_and_tokenizer():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model, tokenizer = create_model()
    return model.eval(), tokenizer


def test_pooled_equals_open_clip(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    ids = tokenizer(TEXTS)
    with torch.no_grad():
        expected = model.encode_text(ids, normalize=True)
        pooled, tokens = forward_text(model, ids)
        short, _ = forward_text(model, ids[:, : int(ids.argmax(1).max()) + 1])
    assert torch.allclose(pooled, expected, atol=1e-5)
    assert torch.allclose(short, expected, atol=1e-5), "cutting the padding must not change a causal transformer"
    assert tokens.shape == (3, 48, 128)


def test_embeddings_have_fixed_length_and_mask_words_and_end_mark(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    embeddings = embed_texts(model, tokenizer, TEXTS, 24, "cpu")
    for text, e in zip(TEXTS, embeddings, strict=True):
        assert e.tokens.shape == (24, 128) and e.mask.shape == (24,) and e.tokens.dtype == np.float32
        assert not e.mask[0] and e.mask.sum() == len(text.split()) + 1
        assert np.allclose(np.linalg.norm(e.tokens[e.mask], axis=1), 1.0, atol=1e-5)
        assert np.all(e.tokens[~e.mask] == 0)
        assert np.isclose(np.linalg.norm(e.pooled), 1.0, atol=1e-5)
    last = np.flatnonzero(embeddings[0].mask)[-1]
    assert np.allclose(embeddings[0].tokens[last], embeddings[0].pooled, atol=1e-6)


def test_kept_tokens_can_be_fewer_than_the_sentence(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    (e,) = embed_texts(model, tokenizer, [TEXTS[1]], 4, "cpu")
    assert e.tokens.shape == (4, 128) and e.mask.tolist() == [False, True, True, True]
    assert np.array_equal(e.tokens[-1], e.pooled), "the end mark has read the whole sentence"
    whole = embed_texts(model, tokenizer, [TEXTS[1]], 24, "cpu")[0]
    assert np.allclose(e.tokens[1:3], whole.tokens[1:3], atol=1e-6)
    assert embed_texts(model, tokenizer, [], 4, "cpu") == []


def test_a_sentence_is_embedded_once_and_what_is_kept_cannot_be_spoilt(model_and_tokenizer):
    model, tokenizer = model_and_tokenizer
    asked = []
    read = SentenceReader(model, lambda texts: asked.append(texts) or tokenizer(texts), 24, "cpu")
    first = read(TEXTS[:2])
    expected = [(e.pooled.copy(), e.tokens.copy(), e.mask.copy()) for e in first]
    first[0].pooled[:] = first[0].tokens[:] = 7.0
    for e, (pooled, tokens, mask) in zip(read(TEXTS[:2]), expected, strict=True):
        assert np.array_equal(e.pooled, pooled) and np.array_equal(e.tokens, tokens) and np.array_equal(e.mask, mask)
    assert asked == [TEXTS[:2]]
    assert np.array_equal(read(TEXTS[1:2])[0].pooled, embed_texts(model, tokenizer, TEXTS[1:2], 24, "cpu")[0].pooled)
    assert len(read(TEXTS)) == 3 and len(read(TEXTS)) == 3 and asked[1:] == [TEXTS[1:2], TEXTS, TEXTS]


def test_unknown_words():
    vocabulary = frozenset({"give", "me", "the", "mug", "men's"})
    assert unknown_words("Give me the Mug, the gizmo and the GIZMO!", vocabulary) == ("gizmo", "and")
    assert unknown_words("give me the mug", vocabulary) == ()
    assert unknown_words("anything at all", None) == ()
    assert words_of("men's face-wash 2") == ("men's", "face", "wash", "2")
