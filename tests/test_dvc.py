"""The DVC pipeline: what dvc.yaml declares is what the stages read, and DVC runs again what it has to and nothing else."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from srcli.cli.app import app
from srcli.methods.registry import UNTRAINED, folder_of, shipped, spec_of
from srcli.params import Params
from srcli.params.loading import load_params, validate

ROOT = Path(__file__).parents[1]
# The ground under every room, and the doors to it: a change there is a change of wording or of nothing.
FREE = {"srcli", "srcli.types", "srcli.errors", "srcli.seeding", "srcli.stages", "srcli.studies"}
FREE_ROOMS = {"config", "params", "parallel"}
ROOM = {"ablate": "studies", "noise_sweep": "studies", "compare": "studies"}
# Imported on demand and not demanded: the expert decides without a percept, so demonstrations do not depend on how one is made.
NOT_DEMANDED = {"collect": {"srcli.perception.pipeline"}}


def _stages(file: str = "dvc.yaml") -> dict[str, Any]:
    return yaml.safe_load((ROOT / file).read_text())["stages"]


def _module_file(name: str) -> Path | None:
    path = ROOT / Path(*name.split("."))
    if path.is_dir():
        return path / "__init__.py"
    return path.with_suffix(".py") if path.with_suffix(".py").is_file() else None


def _reached(stage: str) -> set[str]:
    """The modules of srcli that a stage imports, at any depth, lazily or not; those for type checking alone left out."""
    start = f"srcli.{ROOM.get(stage, 'stages')}.{stage}"
    # The Python interface is loaded by whoever asks the package for it, and no stage does.
    unasked = {"srcli.api", *NOT_DEMANDED.get(stage, ())}
    seen = set(unasked)
    todo = [start, *_named(stage)]
    while todo:
        name = todo.pop()
        file = _module_file(name)
        if name in seen or file is None:
            continue
        seen.add(name)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        types_only = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if id(node) in types_only:
                continue
            if isinstance(node, ast.Import):
                todo.extend(alias.name for alias in node.names if alias.name.startswith("srcli"))
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("srcli"):
                todo.append(str(node.module))
                todo.extend(f"{node.module}.{alias.name}" for alias in node.names)
    return seen - unasked


def _trained() -> list[str]:
    return list(yaml.safe_load((ROOT / "dvc.yaml").read_text())["vars"][0]["trained"])


def _named(stage: str) -> list[str]:
    """Modules that the specifications of the trained methods name for a stage, which no import statement shows."""
    specs = [spec_of(name) for name in _trained()]
    fits, builds = [str(spec.fit) for spec in specs], [spec.build for spec in specs]
    named = {"train": fits, "evaluate": builds, "report": builds, "ablate": [*fits, *builds], "noise_sweep": [*fits, *builds]}
    return [reference.partition(":")[0] for reference in named.get(stage, [])]


STAGES = ["collect", "featurize", "train", "evaluate", "ablate", "noise-sweep", "report"]
_ITEMS = {"task": "pick", "method": "sr_plus", "seed": "0"}
MODULE = {"noise-sweep": "noise_sweep"}


@pytest.mark.parametrize("stage", STAGES)
def test_dependencies_cover_what_the_stage_imports(stage: str) -> None:
    covered = [ROOT / dep for dep in _stages()[stage]["deps"]]
    missing = set()
    for name in _reached(MODULE.get(stage, stage)) - FREE:
        file = _module_file(name)
        assert file is not None
        if name.split(".")[1] in FREE_ROOMS or (file.name == "__init__.py" and not file.read_text().strip()):
            continue
        if not any(file == dep or dep in file.parents for dep in covered):
            missing.add(str(file.relative_to(ROOT)))
    assert missing == set()
    assert [str(dep) for dep in covered if dep.is_relative_to(ROOT / "srcli") and not dep.exists()] == []


def test_dependencies_of_the_comparison_cover_what_it_imports() -> None:
    for stage, module in (("featurize_views", "featurize"), ("compare", "compare")):
        entry = _stages("compare/dvc.yaml")[stage]
        assert entry["wdir"] == ".." and {str(key).partition(".")[0] for key in entry["params"]} <= set(Params.model_fields)
        covered = [ROOT / dep for dep in entry["deps"]]
        reached = {name: _module_file(name) for name in _reached(module) - FREE if name.split(".")[1] not in FREE_ROOMS}
        files = {
            file for file in reached.values() if file is not None and (file.name != "__init__.py" or file.read_text().strip())
        }
        assert {str(f.relative_to(ROOT)) for f in files if not any(f == dep or dep in f.parents for dep in covered)} == set()
        assert [str(dep) for dep in covered if dep.is_relative_to(ROOT / "srcli") and not dep.exists()] == []


def test_commands_have_paths_only_and_sections_exist() -> None:
    stages = _stages()
    assert list(stages) == STAGES
    for name, stage in stages.items():
        words = shlex.split(stage["cmd"])
        assert words[:2] == ["srcli", MODULE.get(name, name).replace("_", "-")]
        assert {word for word in words if word.startswith("-")} <= {
            "--task",
            "--method",
            "--seed",
            "--no-train",
            "--shipped",
            "--reuse",
            "--out",
        }
        assert {str(key).partition(".")[0] for key in stage["params"]} <= set(Params.model_fields)
    assert {"results/evaluation/${item.task}/episodes": {"persist": True}} in stages["evaluate"]["outs"]
    assert stages["collect"]["outs"] == [{"data/${item.task}.h5": {"persist": True}}]
    assert all(
        options["cache"] is False for stage in stages.values() for out in stage.get("metrics", []) for options in out.values()
    )


def test_no_command_sets_what_dvc_tracks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "any")
    monkeypatch.chdir(ROOT)
    for file in ("dvc.yaml", "compare/dvc.yaml"):
        for stage in _stages(file).values():
            words = [re.sub(r"\$\{item\.(\w+)\}", lambda found: _ITEMS[found[1]], word) for word in shlex.split(stage["cmd"])]
            told = CliRunner().invoke(app, [*words[1:], "--dry-run"])
            assert "would override" not in told.stderr and "No such option" not in told.stderr, (words, told.stderr)


def test_settings_of_all_methods_that_are_evaluated_are_tracked() -> None:
    params = load_params(ROOT / "params.yaml")
    shown = (*params.evaluate.methods, *params.ablate.methods)
    for stage, played in (
        ("evaluate", params.evaluate.methods),
        ("report", shown),
        ("ablate", params.ablate.methods),
        ("noise-sweep", params.noise.methods),
    ):
        tracked = {str(key) for key in _stages()[stage]["params"]}
        for name in played:
            spec = spec_of(name)
            keys = {f"methods.{spec.key}.{key}" for key in type(spec.section()).model_fields if key != "train"}
            missing = {key for key in keys if not tracked & {key, key.rpartition(".")[0], "methods"}}
            assert not missing, f"dvc.yaml: stage {stage} has to track {sorted(missing)}"
    assert "ablate" in {str(key) for key in _stages()["report"]["params"]}, "its case studies are played by those methods"


def test_what_is_trained_is_what_is_compared() -> None:
    params = load_params(ROOT / "params.yaml")
    compared = {name for name in (*params.evaluate.methods, *params.noise.methods) if not name.startswith(UNTRAINED)}
    learned = {name for name in compared if spec_of(name).fit is not None}
    assert set(_trained()) == learned
    for name in params.ablate.methods:
        assert spec_of(name).fit is None or shipped(spec_of(name).name).is_file()
    train = _stages()["train"]
    for name in learned:
        assert f"srcli/{folder_of(name)}" in train["deps"], f"the folder of {name} is no dependency of its training"
        assert f"methods.{spec_of(name).key}" in train["params"]


def test_dvc_sends_no_analytics() -> None:
    assert "analytics = false" in (ROOT / ".dvc" / "config").read_text()


TINY = {
    "collect": {"episodes": 4, "valid_every": 2},
    "scene": {"objects": 3, "place_objects": 2},
    "sim": {"camera_scale": 0.25},
    "methods": {
        "sr": {"train": {"updates": 2, "batch_size": 4, "validate_every": 2, "checkpoint_every": 2, "warmup": 0}},
    },
    "evaluate": {
        "suite": "development",
        "methods": ["sr_plus", "untrained:sr_plus", "random"],
        "initialisations": 2,
        "episodes": 1,
        "splits": ["unseen"],
        "attempts": 1,
        "figure_cases": 1,
        "bootstrap": 100,
        "similarity_rule": False,
    },
    "ablate": {
        "suite": "development",
        "tasks": ["place"],
        "splits": ["unseen"],
        "episodes": 1,
        "methods": ["base", "sr", "random"],
        "reference": "sr",
    },
    "noise": {"suite": "development", "sigma": [0.1], "episodes": 1},
    "report": {"replay": False},
}
REST = {
    "train@sr_plus-0", "train@sr_plus_softmax-0", "train@sr_plus_relu-0",
    "evaluate@pick", "evaluate@place", "evaluate@pick_place", "ablate", "noise-sweep", "report",
}  # fmt: skip


def _on_one_core() -> None:
    # One worker a stage, by default one per core: starting another one takes longer than what there is to do.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


class Project:
    """A copy of the pipeline, without git, in which `dvc repro` runs with tiny parameters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".dvc").mkdir()
        shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
        shutil.copy(ROOT / "dvc.yaml", folder / "dvc.yaml")
        # DVC hashes the code it depends on; links would lead it out of the project.
        shutil.copytree(ROOT / "srcli", folder / "srcli", ignore=shutil.ignore_patterns("__pycache__"))
        self.write(TINY)
        self.dvc("config", "core.no_scm", "true")

    def write(self, params: dict[str, Any]) -> None:
        """DVC tracks whole sections, so each has to stand in the file."""
        full = validate(params, "test").model_dump(mode="json")
        (self.folder / "params.yaml").write_text(yaml.safe_dump(full))

    def dvc(self, *arguments: str) -> str:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.folder.parent / "site"),
            "OMP_NUM_THREADS": "1",
        }
        for name in ("DVC_STAGE", "DVC_ROOT"):
            environment.pop(name, None)
        result = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
            preexec_fn=_on_one_core if hasattr(os, "sched_setaffinity") else None,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout + result.stderr

    def repro(self, *arguments: str) -> list[str]:
        """Runs the pipeline; which stages ran."""
        return [line.split("'")[1] for line in self.dvc("repro", *arguments).splitlines() if line.startswith("Running stage")]


@pytest.mark.slow
@pytest.mark.first
@pytest.mark.timeout(900)
def test_pipeline_runs_what_has_changed_and_keeps_collections(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    folder = project.folder

    subprocess.run(
        [sys.executable, "-m", "srcli", "collect", "--task", "pick", "--workers", "2"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    by_hand = (folder / "data" / "pick.h5").read_bytes()
    assert set(project.repro()) == {"collect@pick", "collect@place", "featurize", *REST}
    assert (folder / "data" / "pick.h5").read_bytes() == by_hand
    for path in (
        "results/policies/sr_plus-0.h5",
        "results/evaluation/place/table.md",
        "results/ablation/ablation.json",
        "results/noise/noise.h5",
        "results/report/report.html",
    ):
        assert (folder / path).stat().st_size > 0

    assert project.repro() == []
    assert "unseen" in project.dvc("metrics", "show")

    longer = {**TINY["methods"]["sr"]["train"], "updates": 3}
    project.write({**TINY, "methods": {"sr": {"train": longer}}})
    # Nothing is run, so what depends on the new policies alone is not known to change yet.
    assert set(project.repro("--dry")) == {name for name in REST if name.startswith(("train", "noise-sweep"))}
