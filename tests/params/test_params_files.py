"""The two parameter files of the repository, and the file that `srcli params` prints."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from srcli.params import Params
from srcli.params.loading import load_params, override
from srcli.params.rendering import to_yaml

ROOT = Path(__file__).parents[2]


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _keys(info.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


def test_every_parameter_is_described() -> None:
    assert [key for key, info in _keys(Params) if not info.description] == []


def test_params_file_has_every_key_with_an_explanation() -> None:
    text = (ROOT / "params.yaml").read_text()
    params = load_params(ROOT / "params.yaml")
    data = yaml.safe_load(text)
    for key, _ in _keys(Params):
        node = data
        for part in key.split("."):
            assert part in node, f"params.yaml lacks {key}: `srcli params --params params.yaml` prints a complete file"
            node = node[part]
    # A list may go on in the next line.
    lines = [line.strip() for line in text.splitlines() if not line.strip().startswith('"')]
    bare = [line for before, line in pairwise(lines) if line and not line.startswith("#") and not before.startswith("#")]
    assert bare == []
    assert override(params, {}) == params


def test_the_recipes_of_what_is_shipped_are_those_of_the_package() -> None:
    assert load_params(ROOT / "params.yaml").pretrain == Params().pretrain


def test_paper_file_has_the_papers_scale() -> None:
    params = load_params(ROOT / "params-paper.yaml")
    assert params.collect.episodes == 5000
    assert params.featurize.limit == 3400
    for section in (params.methods.sr, params.methods.a2):
        train = section.train
        assert (train.updates, train.epochs, train.batch_size, train.lr) == (0, 200, 32, 1e-4)
        assert (section.network.width, section.network.heads) == (768, 8)
        # Every sample as it was recorded.
        assert (train.points, train.candidates) == (0, 0)
        assert not any(train.augment.model_dump().values())
    assert params.methods.sr.network.dssa.dense_conv == "dw3" and len(params.encoder.tiles) > 1
    assert set(params.ablate.methods) == {"base", "sr_a", "sr", "untrained:sr"}
    assert (params.evaluate.suite, params.evaluate.episodes, params.evaluate.attempts) == ("paper", 15, 8)
    assert (params.encoder.name, params.encoder.pretrained) == ("ViT-L-14-quickgelu", "openai")


@pytest.mark.parametrize(
    "values", [{}, {"seed": 3, "methods.sr.additions.rings": "off", "evaluate.methods": ["random"], "encoder.quickgelu": True}]
)
def test_printed_parameters_read_back_equal(values: dict[str, object], tmp_path: Path) -> None:
    params = override(Params(), values) if values else Params()
    file = tmp_path / "params.yaml"
    file.write_text(to_yaml(params))
    assert load_params(file) == params
    assert max(len(line) for line in file.read_text().splitlines()) <= 130


@pytest.mark.parametrize("word", ["True", "NULL", "false", "Off", "Yes", "model-a"])
def test_words_that_look_like_something_else_are_quoted(word: str, tmp_path: Path) -> None:
    params = override(Params(), {"encoder.pretrained": word})
    (tmp_path / "params.yaml").write_text(to_yaml(params))
    assert load_params(tmp_path / "params.yaml").encoder.pretrained == word
    assert yaml.safe_load(to_yaml(params))["encoder"]["pretrained"] == word
