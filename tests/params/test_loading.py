"""params.yaml: precedence, and one clear line for whatever is wrong with it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from srcli.errors import ConfigError
from srcli.params import Params
from srcli.params.loading import load_params, override

TRAIN = "methods:\n  sr:\n    train:\n      "
BAD = {
    "unknown section": ("colect:\n  seed: 1\n", ["unknown key 'colect'"], ["did you mean 'collect'?"]),
    "key without effect": ("sim:\n  workspace_z: [0, 1]\n", ["unknown key 'sim.workspace_z'"], ["leave it out"]),
    "key of the first version": ("train:\n  lr: 0.1\n", ["unknown key 'train'"], ["below 'methods.sr.train' now"]),
    "moved key": ("evaluate:\n  combine:\n    prior: 1\n", ["'evaluate.combine'"], ["below 'methods.sr.choice' now"]),
    "unknown key": (
        TRAIN + "updaets: 3\n",
        ["unknown key 'methods.sr.train.updaets'"],
        ["did you mean 'updates'?", "batch_size"],
    ),
    "unknown nested key": (
        "methods:\n  sr:\n    network:\n      dssa:\n        spars: relu\n",
        ["unknown key 'methods.sr.network.dssa.spars'"],
        ["'sparse'"],
    ),
    "key below a value": ("seed:\n  x: 1\n", ["seed"], []),
    "too large": (TRAIN + "lr: 5.0\n", ["train.lr = 5.0", "less than or equal to 1"], ["learning rate", "> 0, <= 1"]),
    "wrong form": (
        'results:\n  strict: ["wide/pik"]\n',
        ['results.strict.0 = "wide/pik": should match pattern'],
        ["with one attempt"],
    ),
    "too small": ("collect:\n  episodes: 0\n", ["collect.episodes = 0", "greater than or equal to 1"], []),
    "text for a number": (TRAIN + "updates: many\n", ['train.updates = "many"', "integer"], []),
    "number in quotes": (TRAIN + "updates: '12'\n", ['train.updates = "12"', "integer"], []),
    "fraction for a count": ("collect:\n  episodes: 1.5\n", ["collect.episodes = 1.5", "integer"], []),
    "number for a switch": ("sim:\n  noise: 1\n", ["sim.noise = 1", "boolean"], []),
    "no such choice": (
        TRAIN + "target: right\n",
        ["train.target", "'expert', 'valid' or 'quality'"],
        ["expert | valid | quality"],
    ),
    "list too short": ("cloud:\n  lower: [0.1, 0.2]\n", ["cloud.lower"], []),
    "a section's own rule": ("cloud:\n  lower: [1.0, 1.0, 1.0]\n", ["cloud.lower must be below"], []),
    "a box of candidates upside down": ("candidates:\n  lower: [0.8, -0.2, 0.0]\n", ["candidates.lower must be below"], []),
    "a box of placements upside down": ("placements:\n  upper: [0.7, -0.3, 0.4]\n", ["placements.lower must be below"], []),
    "a box in millimetres": (
        "cloud:\n  upper: [724, 224, 400]\n",
        ["from cloud.lower to cloud.upper it is 723.7 m, more than 3 m"],
        [],
    ),
    "candidates in millimetres": ("candidates:\n  upper: [724, 1, 1]\n", ["candidates.upper it is 723.7 m"], []),
    "placements in millimetres": ("placements:\n  upper: [724, 1, 1]\n", ["placements.upper it is 723.7 m"], []),
    "fewest above most": ("pretrain:\n  grasp:\n    objects_min: 9\n    objects_max: 3\n", ["objects_min 9 is more"], []),
    "more than there are": ("pretrain:\n  scenes: 8\n  batch: 9\n", ["batch 9 is more"], []),
    "a section's own error": ("sim:\n  workspace_x: [0.7, 0.2]\n", ["params.yaml: sim.workspace_x"], []),
    "not a number": (TRAIN + "lr: .nan\n", ["train.lr"], []),
    "section is a value": ("collect: 3\n", ["collect = 3"], []),
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


@pytest.mark.parametrize("text", ["", "# only a comment\n", "collect: {}\n"])
def test_empty_file_gives_defaults(text: str, params_file: Path) -> None:
    params_file.write_text(text)
    assert load_params() == Params()


def test_precedence(params_file: Path) -> None:
    default = Params()
    params_file.write_text("seed: 7\ncollect:\n  episodes: 20\n  valid_every: 3\n")
    params = load_params(overrides={"collect.episodes": 30})
    assert (params.seed, params.collect.episodes, params.collect.valid_every) == (7, 30, 3)
    assert params.collect.max_attempts == default.collect.max_attempts
    assert load_params().collect.episodes == 20


def test_numbers_as_dvc_reads_them(params_file: Path) -> None:
    params_file.write_text(TRAIN + "lr: 1e-4\n      weight_decay: 2E-5\n      beta1: 0\n")
    train = load_params().methods.sr.train
    assert (train.lr, train.weight_decay, train.beta1) == (1e-4, 2e-5, 0.0)


def test_lists_fill_tuples(params_file: Path) -> None:
    params_file.write_text("evaluate:\n  methods: [random, expert]\nencoder:\n  tiles: [[1, 1], [2, 3]]\n")
    params = load_params()
    assert params.evaluate.methods == ("random", "expert")
    assert params.encoder.tiles == ((1, 1), (2, 3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"collect.episods": 1}, "unknown key 'collect.episods'"),
        ({"colect.episodes": 1}, "unknown key 'colect'"),
        ({"collect.episodes": -1}, "collect.episodes = -1"),
        ({"collect.episodes.more": 1}, "collect.episodes"),
        ({"collect": 1}, "collect = 1"),
        ({"train.updates": 1}, "unknown key 'train'"),
        ({"methods.nonsense.x": 1}, "unknown key 'methods.nonsense'"),
    ],
)
def test_bad_overrides_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(Params(), values)
    assert message in caught.value.message
    assert caught.value.message.startswith("command line: ")


def test_a_key_that_is_left_out_while_it_has_its_default_is_known() -> None:
    assert "library" not in Params().model_dump()["scene"]
    assert override(Params(), {"scene.library": "only"}).scene.library == "only"
    with pytest.raises(ConfigError, match="library"):
        override(Params(), {"scene.library": "all"})


def test_override_leaves_the_original() -> None:
    params = Params()
    changed = override(params, {"methods.sr.train.updates": 11, "methods.sr.network.dssa.sparse": "relu"})
    assert (changed.methods.sr.train.updates, changed.methods.sr.network.dssa.sparse) == (11, "relu")
    assert params == Params()
    with pytest.raises(ValidationError):
        params.seed = 3  # type: ignore[misc]


def test_parameters_reach_worker_processes() -> None:
    params = override(Params(), {"seed": 5})
    assert pickle.loads(pickle.dumps(params)) == params


def test_words_that_dvc_writes_without_quotes_stay_words(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("methods:\n  sr:\n    additions:\n      rings: off\n      words: on\nsim:\n  noise: false\n")
    params = load_params(file)
    assert (params.methods.sr.additions.rings, params.methods.sr.additions.words, params.sim.noise) == ("off", "on", False)
