"""params.yaml: precedence, and one clear line for whatever is wrong with it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from srcli.errors import ConfigError
from srcli.params import Params
from srcli.params.loading import load_params, override

BAD = {
    "unknown section": ("trian:\n  lr: 0.1\n", ["unknown key 'trian'"], ["did you mean 'train'?"]),
    "unknown key": ("train:\n  updaets: 3\n", ["unknown key 'train.updaets'"], ["did you mean 'updates'?", "batch_size"]),
    "unknown nested key": ("model:\n  dssa:\n    spars: relu\n", ["unknown key 'model.dssa.spars'"], ["'sparse'"]),
    "key below a value": ("seed:\n  x: 1\n", ["seed"], []),
    "too large": ("train:\n  lr: 5.0\n", ["train.lr = 5.0", "less than or equal to 1"], ["learning rate", "> 0, <= 1"]),
    "too small": ("collect:\n  episodes: 0\n", ["collect.episodes = 0", "greater than or equal to 1"], []),
    "text for a number": ("train:\n  updates: many\n", ['train.updates = "many"', "integer"], []),
    "number in quotes": ("train:\n  updates: '12'\n", ['train.updates = "12"', "integer"], []),
    "fraction for a count": ("collect:\n  episodes: 1.5\n", ["collect.episodes = 1.5", "integer"], []),
    "number for a switch": ("sim:\n  noise: 1\n", ["sim.noise = 1", "boolean"], []),
    "no such choice": ("model:\n  variant: srx\n", ["model.variant", "'base', 'sr_a', 'sr' or 'a2'"], ["base | sr_a | sr | a2"]),
    "list too short": ("cloud:\n  lower: [0.1, 0.2]\n", ["cloud.lower"], []),
    "a section's own rule": ("cloud:\n  lower: [1.0, 1.0, 1.0]\n", ["cloud.lower must be below"], []),
    "fewest above most": ("pretrain:\n  grasp:\n    objects_min: 9\n    objects_max: 3\n", ["objects_min 9 is more"], []),
    "more than there are": ("pretrain:\n  scenes: 8\n  batch: 9\n", ["batch 9 is more"], []),
    "a section's own error": ("sim:\n  workspace_x: [0.7, 0.2]\n", ["params.yaml: sim.workspace_x"], []),
    "not a number": ("train:\n  lr: .nan\n", ["train.lr"], []),
    "section is a value": ("train: 3\n", ["train = 3"], []),
    "not a mapping": ("- 1\n", ["mapping of sections", "a list"], []),
    "not YAML": ("seed: [\n", ["not valid YAML", "line"], []),
    "key twice": ("seed: 1\nseed: 2\n", ["line 2", "'seed' stands twice"], []),
    "key that is no word": ("1: 2\n", ["line 1", "not a word"], []),
    "object tag": ("seed: !!python/object/apply:os.getcwd []\n", ["not valid YAML"], []),
}


@pytest.fixture
def params_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("params.yaml")


@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_one_line_with_key_and_what_is_allowed(name: str, params_file: Path) -> None:
    text, in_message, in_hint = BAD[name]
    params_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_params()
    error = caught.value
    assert error.exit_code == 2
    assert "\n" not in error.message + error.hint
    assert error.message.startswith("params.yaml")
    assert all(part in error.message for part in in_message), error.message
    assert all(part in error.hint for part in in_hint), error.hint


def test_missing_file_is_refused_only_when_asked_for(params_file: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_params(Path("other.yaml"))
    assert load_params() == Params()


def test_unreadable_files(params_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_params(tmp_path)
    params_file.write_bytes(b"seed: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_params()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "train: {}\n"])
def test_empty_file_gives_defaults(text: str, params_file: Path) -> None:
    params_file.write_text(text)
    assert load_params() == Params()


def test_precedence(params_file: Path) -> None:
    default = Params()
    params_file.write_text("seed: 7\ntrain:\n  updates: 20\n  lr: 0.002\n")
    params = load_params(overrides={"train.updates": 30})
    assert (params.seed, params.train.updates, params.train.lr) == (7, 30, 0.002)
    assert params.train.batch_size == default.train.batch_size
    assert load_params().train.updates == 20


def test_numbers_as_dvc_reads_them(params_file: Path) -> None:
    params_file.write_text("train:\n  lr: 1e-4\n  weight_decay: 2E-5\n  beta1: 0\n")
    train = load_params().train
    assert (train.lr, train.weight_decay, train.beta1) == (1e-4, 2e-5, 0.0)


def test_lists_fill_tuples(params_file: Path) -> None:
    params_file.write_text("evaluate:\n  methods: [random, expert]\nencoder:\n  tiles: [[1, 1], [2, 3]]\n")
    params = load_params()
    assert params.evaluate.methods == ("random", "expert")
    assert params.encoder.tiles == ((1, 1), (2, 3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train.updaets": 1}, "unknown key 'train.updaets'"),
        ({"trian.updates": 1}, "unknown key 'trian'"),
        ({"train.updates": -1}, "train.updates = -1"),
        ({"train.updates.more": 1}, "train.updates"),
        ({"train": 1}, "train = 1"),
    ],
)
def test_bad_overrides_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(Params(), values)
    assert message in caught.value.message
    assert caught.value.message.startswith("command line: ")


def test_override_leaves_the_original() -> None:
    params = Params()
    changed = override(params, {"train.updates": 11, "model.dssa.sparse": "relu"})
    assert (changed.train.updates, changed.model.dssa.sparse) == (11, "relu")
    assert params == Params()
    with pytest.raises(ValidationError):
        params.seed = 3  # type: ignore[misc]


def test_parameters_reach_worker_processes() -> None:
    params = override(Params(), {"seed": 5})
    assert pickle.loads(pickle.dumps(params)) == params


def test_words_that_dvc_writes_without_quotes_stay_words(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("model:\n  stage2:\n    mask: off\n    words: on\nsim:\n  noise: false\n")
    params = load_params(file)
    assert (params.model.stage2.mask, params.model.stage2.words, params.sim.noise) == ("off", "on", False)
