"""Tasks and relations of a user's package: the examples of docs/extending.md, and packages that are broken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from extensions import install
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.config.scene import SceneConfig
from srcli.config.yamltext import parse_yaml
from srcli.errors import ArtifactError, ConfigError, UnknownNameError
from srcli.evaluation.plan import make_setup
from srcli.evaluation.plan import scene_record as recorded
from srcli.evaluation.report import PlayedEpisode
from srcli.evaluation.setup import set_up
from srcli.evaluation.statistics import summarise
from srcli.evaluation.suites import find_episode, suite_episodes
from srcli.evaluation.yamlcases import read_file_cases
from srcli.language import RELATIONS, parse_place, place_instruction, split_instruction
from srcli.language.relations import own_relations
from srcli.objects import build
from srcli.objects.catalogue import ObjectEntry
from srcli.params import Params
from srcli.params.loading import load_params, override
from srcli.seeding import Domain, episode_seed
from srcli.sim import World
from srcli.stages.collect import recorded_config
from srcli.tasks import get_task, task_names, task_origin
from srcli.tasks.placing import relations
from srcli.types import SceneTruth

DOCS = Path(__file__).parents[1] / "docs" / "extending.md"


def example(heading: str) -> tuple[str, str, str]:
    """Module name, source and entry points of a section's example."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## )", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None
    source = re.search(r"```python\n(.*?)```", section.group(1), re.DOTALL)
    points = r'```toml\n\[project\.entry-points\."([\w.]+)"\]\n(\w+) = "your_package\.(\w+):(\w+)"\n```'
    toml = re.search(points, section.group(1))
    assert source is not None and toml is not None
    group, name, module, thing = toml.groups()
    return module, source.group(1), f"[{group}]\n{name} = your_package.{module}:{thing}\n"


@pytest.fixture(autouse=True)
def _relations_go_again() -> Iterator[None]:
    own_relations.cache_clear()
    yield
    own_relations.cache_clear()


@pytest.fixture
def topmost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module, source, points = example("A task")
    install(monkeypatch, tmp_path, "your_package", {module: source}, points)


@pytest.fixture
def alongside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module, source, points = example("A relation")
    install(monkeypatch, tmp_path, "your_package", {module: source}, points)


# ---------------------------------------------------------------------------------------------------------------- task


def test_a_task_is_known_wherever_tasks_are_named(topmost: None) -> None:
    assert task_names() == ("pick", "place", "pick_place", "topmost")
    task = get_task("topmost")
    assert (task.name, task.phases) == ("topmost", ("pick",))
    assert override(Params(), {"evaluate.tasks": ["topmost"]}).evaluate.tasks == ("topmost",)
    assert len(task_origin("topmost")) == 64 and task_origin("pick") == ""
    plan = CliRunner().invoke(app, ["collect", "--task", "topmost", "--dry-run"])
    assert plan.exit_code == 0 and "topmost" in plan.stdout


def test_a_task_has_seeds_of_its_own_and_its_scenes_settle(topmost: None) -> None:
    episodes = suite_episodes("development", 0, ("seen", "unseen"), episodes=3, task="topmost")
    others = {e.seed for task in ("pick", "place", "pick_place") for e in suite_episodes("development", 0, task=task)}
    assert len({e.seed for e in episodes}) == 6 and not others & {e.seed for e in episodes}
    assert find_episode(episodes[4].key, 1, 0).split == "unseen"
    with pytest.raises(ConfigError, match="suite 'paper' has no cases of the task 'topmost'"):
        suite_episodes("paper", 0, task="topmost")
    task = get_task("topmost")
    spec = episodes[0].spec(task, SceneConfig(objects=4))
    assert spec.task == "topmost" and spec.goal.targets == ()
    world = World(Params().sim, robot=False)
    try:
        built = set_up(world, task, spec)
        truth = world.truth()
    finally:
        world.close()
    assert built.goal.targets == (int(np.argmax(np.where(truth.present, truth.poses[:, 2], -np.inf))),)


def test_a_case_of_a_task_that_settles_needs_no_targets(topmost: None) -> None:
    text = "task: topmost\ncases:\n  - {name: high, instruction: give me the highest, objects: [banana, apple, strawberry]}\n"
    (listed,) = read_file_cases(text, "mine.yaml")
    assert (listed.task, listed.case.targets, listed.case.keyword) == ("topmost", (), "")
    spec = get_task("topmost").from_case(listed.case, (1, 2), SceneConfig())
    world = World(Params().sim, robot=False)
    try:
        built = set_up(world, get_task("topmost"), spec)
    finally:
        world.close()
    assert len(built.goal.targets) == 1
    with pytest.raises(ArtifactError, match="has no keyword or fewer than two objects"):
        read_file_cases(text.replace("topmost", "pick"), "mine.yaml")


def test_results_of_a_task_record_its_code_and_are_counted_by_its_phases(topmost: None) -> None:
    params = Params()
    setup = make_setup(params, (), ("topmost",))
    assert recorded(setup, "topmost", 0)["task_code"] == task_origin("topmost")
    assert recorded_config(params, "topmost", 0)["task_code"] == task_origin("topmost")
    assert "task_code" not in recorded(setup, "pick", 0)
    tried = {"phase": "pick", "reason": "success", "similarity": 0.5, "index_rule": None}
    record = {
        "key": "k", "task": "topmost", "split": "seen", "cluster": "k", "case": "", "success": True, "instruction": "give me it",
        "keyword_kind": "", "ended": "", "attempts": [tried], "phases": ["pick"],
    }  # fmt: skip
    row = summarise([PlayedEpisode("sr", record).result(None)])
    assert row.task == "topmost" and row.within[1] == 1 and row.index_rule is None


def test_unknown_tasks_are_refused_with_the_known_ones(topmost: None) -> None:
    with pytest.raises(ConfigError, match="unknown task 'topmist'; did you mean 'topmost'"):
        override(Params(), {"evaluate.tasks": ["topmist"]})
    with pytest.raises(UnknownNameError, match="unknown task 'topmist'") as caught:
        get_task("topmist")
    assert "topmost" in caught.value.hint
    wrong = CliRunner().invoke(app, ["evaluate", "--task", "topmist"])
    assert wrong.exit_code == 2 and len(wrong.stderr.splitlines()) <= 2


BROKEN_TASKS = {
    "import no_such_module_anywhere\n": "ModuleNotFoundError: No module named 'no_such_module_anywhere'",
    "class Broken:\n    name = 'broken'\n    phases = ('pick',)\n": "it has no method attempts, shift",
    "def Broken():\n    raise RuntimeError('no licence')\n": "RuntimeError: no licence",
    "from srcli.tasks.pick import PickTask\nclass Broken(PickTask):\n    name = 'other'\n": "the task calls itself 'other'",
    "from srcli.tasks.pick import PickTask\nclass Broken(PickTask):\n    name = 'broken'\n    phases = ('push',)\n": "its phases",
}


@pytest.mark.parametrize("source", BROKEN_TASKS, ids=["import", "methods", "constructor", "name", "phases"])
def test_a_broken_task_is_named_in_one_line(source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "their_package", {"tasks": source}, "[srcli.tasks]\nbroken = their_package.tasks:Broken\n")
    with pytest.raises(ConfigError, match=r"package 'their-package': its 'broken' of srcli\.tasks") as caught:
        get_task("broken")
    assert BROKEN_TASKS[source] in caught.value.message and "\n" not in caught.value.message and caught.value.hint
    # Nobody else is disturbed by it.
    assert get_task("pick").name == "pick"


def test_two_packages_with_one_name_are_refused(topmost: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "b", "their_package", {"t": ""}, "[srcli.tasks]\ntopmost = their_package.t:T\n")
    with pytest.raises(ConfigError, match=r"'topmost' of srcli\.tasks is announced by package") as caught:
        get_task("topmost")
    assert "'their-package'" in caught.value.message and "'your-package'" in caught.value.message


# ------------------------------------------------------------------------------------------------------------ relation


def test_a_relation_is_said_and_read(alongside: None) -> None:
    assert RELATIONS["alongside"].region == "around" and not RELATIONS["alongside"].seen and len(RELATIONS) == 12
    text = place_instruction(np.random.default_rng(0), "alongside", "red bowl")
    found = parse_place(text)
    assert found is not None and (found.relation, found.reference) == ("alongside", "red bowl")
    assert split_instruction("give me the pear, plase it alongside the cup") == ("give me the pear", "plase it alongside the cup")
    assert [r.word for r in relations("unseen", "train")][-1] == "alongside"
    assert "alongside" not in [r.word for r in relations("seen", "train")]


def test_placing_draws_and_judges_it_and_records_it(alongside: None) -> None:
    task, said = get_task("place"), set()
    for i in range(60):
        spec = task.sample(episode_seed(0, Domain.DEVELOPMENT, 700_000_000 + i), "unseen", "train", SceneConfig())
        said.add(spec.goal.relation)
        if spec.goal.relation == "alongside":
            truth = SceneTruth(spec.drops, np.ones(len(spec.objects), dtype=np.bool_), np.zeros((0, 0, 0), np.uint16))
            assert isinstance(task.possible(spec, truth, "place"), bool)
    assert "alongside" in said
    setup = make_setup(Params(), (), ("place",))
    assert recorded(setup, "place", 0)["relations"] == {"alongside": "around, unseen"}
    assert recorded_config(Params(), "place", 0)["relations"] == {"alongside": "around, unseen"}
    # Its words may stand in any sentence that is read; the demonstrations of picking have none.
    assert recorded(setup, "pick", 0)["relations"] == {"alongside": "around, unseen"}
    assert "relations" not in recorded_config(Params(), "pick", 0)


def test_without_packages_nothing_is_recorded() -> None:
    assert len(RELATIONS) == 11 and task_names() == ("pick", "place", "pick_place")
    assert not {"relations", "task_code"} & set(recorded_config(Params(), "place", 0))


BROKEN_RELATIONS = {
    "R = 'alongside'\n": "it is no srcli.language.Relation",
    "from srcli.language import Relation\nR = Relation('beside', 'around', True)\n": "the relation 'beside' exists already",
    "from srcli.language import Relation\nR = Relation('Left of', 'around', True)\n": "lower-case words",
    "from srcli.language import Relation\nR = Relation('under', 'under', True)\n": "region 'under' is none of in, on, around",
    "R = 1 / 0\n": "ZeroDivisionError",
}


@pytest.mark.parametrize("source", BROKEN_RELATIONS, ids=["type", "taken", "word", "region", "import"])
def test_a_broken_relation_is_named_in_one_line(source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "their_package", {"words": source}, "[srcli.relations]\nr = their_package.words:R\n")
    with pytest.raises(ConfigError, match=r"package 'their-package': its 'r' of srcli\.relations") as caught:
        parse_place("put it alongside the cup")
    assert BROKEN_RELATIONS[source] in caught.value.message and "\n" not in caught.value.message


# ------------------------------------------------------------------------------------------------------- object, encoder


def yaml_of(heading: str) -> str:
    """The YAML example of a section, as printed."""
    found = re.search(rf"^## {heading}\n.*?```yaml\n(.*?)```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_documents_object_is_an_entry_of_the_catalogue() -> None:
    (item,) = parse_yaml(yaml_of("An object"), "docs/extending.md")
    entry = ObjectEntry.model_validate(item)
    model = build(entry)
    assert (entry.label, entry.split, entry.mass) == ("green can", "seen", 0.34)
    np.testing.assert_allclose(np.sort(model.extent), [0.06, 0.06, 0.11], atol=2e-3)


def test_the_documents_encoder_is_one_of_the_parameters(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(yaml_of("An encoder"))
    encoder = load_params(file).encoder
    assert (encoder.name, encoder.pretrained, encoder.download) == ("ViT-B-16-quickgelu", "openai", True)
