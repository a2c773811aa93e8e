"""The layout: a room imports only from rooms below it, and each heavy library is imported in the rooms that may."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from srcli.evaluation.journal import PLACES
from srcli.methods.base import MethodSpec
from srcli.methods.registry import UNTRAINED, folder_of, spec_of, specs

PACKAGE = Path(__file__).parents[1] / "srcli"
ORDER = (
    "cli",
    "studies",
    "stages",
    "envs",
    "exporting",
    "reporting",
    "probing",
    "evaluation",
    "pretraining",
    "params",
    "methods",
    "learning",
    "models",
    "actions",
    "frames",
    "perception",
    "tasks",
    "language",
    "sim",
    "objects",
    "artifacts",
    "parallel",
    "config",
)
GROUND = ("types", "errors", "seeding", "__version__")
ALLOWED = {
    "pybullet": {"sim"},
    "pybullet_utils": {"sim"},
    "h5py": {"artifacts"},
    "typer": {"cli"},
    "open_clip": {"perception"},
    "timm": {"perception"},
    "ray": {"parallel"},
    "gymnasium": {"envs"},
    "pyarrow": {"exporting"},
    "rerun": set(),
    "dvc": set(),
    "click": set(),
    "pickle": set(),
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def _room(file: Path) -> str:
    parts = file.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def _imports(file: Path) -> tuple[str, ...]:
    found: list[str] = []
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            found.extend([f"{module}.{alias.name}" for alias in node.names] if module == "srcli" else [module])
    return tuple(found)


def test_every_room_is_in_the_order() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_rooms_import_downwards_only(room: str) -> None:
    wrong = []
    for file in MODULES:
        if _room(file) != room:
            continue
        for name in _imports(file):
            parts = name.split(".")
            if parts[0] != "srcli" or len(parts) < 2 or parts[1] in GROUND:
                continue
            if ORDER.index(parts[1]) < ORDER.index(room):
                wrong.append(f"{file.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("library", ALLOWED)
def test_libraries_stay_in_their_rooms(library: str) -> None:
    users = {_room(file) for file in MODULES for name in _imports(file) if name.split(".")[0] == library}
    assert users <= ALLOWED[library]


def test_models_know_neither_files_nor_simulator() -> None:
    for file in MODULES:
        if _room(file) == "models":
            names = {name.split(".")[0] for name in _imports(file)} | {".".join(name.split(".")[:2]) for name in _imports(file)}
            assert not names & {"h5py", "pybullet", "srcli.sim", "srcli.artifacts", "pathlib", "json"}, file


def test_ground_stands_alone() -> None:
    for name in ("types", "errors", "seeding"):
        assert not [used for used in _imports(PACKAGE / f"{name}.py") if used.startswith("srcli")]


def _acting(spec: MethodSpec) -> list[Path]:
    """The files of a method's folder that it acts with: that of ``build``, and those of the folder that it imports."""
    todo = [PACKAGE.parent / f"{spec.build.partition(':')[0].replace('.', '/')}.py"]
    folder, found = todo[0].parent, list[Path]()
    while todo:
        file = todo.pop()
        if file not in found and file.is_file() and file.parent == folder:
            found.append(file)
            todo += [PACKAGE.parent / f"{name.replace('.', '/')}.py" for name in _imports(file)]
    return found


def _shared(importing: Iterable[Path]) -> set[str]:
    """What files import of ``learning/`` and of the files beside the methods' folders."""
    names = {name for file in importing for name in _imports(file)}
    paths = {f"{name.removeprefix('srcli.').replace('.', '/')}.py" for name in names if name.startswith("srcli.")}
    shared = {path for path in paths if path.startswith("learning/") or (path.startswith("methods/") and path.count("/") == 1)}
    return {path for path in shared if (PACKAGE / path).is_file()}


@pytest.mark.parametrize("name", [name for name in specs() if (PACKAGE / folder_of(name)).is_dir()])
def test_what_a_method_acts_with_makes_other_episodes(name: str) -> None:
    """Shared files that a folder imports lie in PLACES, or its specification names them."""
    spec = spec_of(name)
    used = _shared(_acting(spec))
    assert used, "it imports at least what a method is"
    assert {path for path in used if path not in PLACES} <= set(spec.shares)
    # What is named is there, and in use.
    assert set(spec.shares) <= used | _shared([PACKAGE / path for path in spec.shares])


def test_no_method_imports_another_s_folder() -> None:
    wrong = []
    for file in MODULES:
        parts = file.relative_to(PACKAGE).parts
        if len(parts) == 3 and parts[0] == "methods":
            others = [name.split(".") for name in _imports(file) if name.startswith("srcli.methods.")]
            wrong += [f"{file}: {'.'.join(o)}" for o in others if (PACKAGE / "methods" / o[2]).is_dir() and o[2] != parts[1]]
    assert wrong == []


COINCIDE = {"base", "expert", "quality", "random", "similarity"}
"""Identifiers of methods that are words for other things, too: columns, links of the robot, ways of selecting."""
NAMELESS = ("cli", "studies", "stages", "envs", "exporting", "reporting", "evaluation")


def _prose(tree: ast.Module) -> set[int]:
    """Docstrings, of attributes as well, by the identity of their nodes."""
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}


def _method_names(tree: ast.Module) -> list[str]:
    """Texts that are identifiers of methods, alone, of a control, or of a file: NAME, untrained:NAME, NAME=FILE, NAME.h5."""
    prose = _prose(tree)
    unmistakable = {name for name in specs() if name not in COINCIDE}
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]
    parts = ((text, text.removeprefix(UNTRAINED).partition("=")[0].partition(".")[0]) for text in texts)
    return [text for text, part in parts if part in unmistakable]


@pytest.mark.parametrize("room", NAMELESS)
def test_rooms_above_the_methods_know_none_by_name(room: str) -> None:
    assert specs() and {name for name in specs() if name in COINCIDE} == COINCIDE
    found = [f"{f.relative_to(PACKAGE)}: {text}" for f in MODULES if _room(f) == room for text in _method_names(_tree(f))]
    assert found == []


def test_names_of_methods_would_be_found() -> None:
    code = 'a = {"sr_plus": 1}\nb == "untrained:a2"\nc("beside=x.h5", "sr.h5", "a base of sr", "random", "surface")\n"sr"\n'
    assert sorted(_method_names(ast.parse(code))) == ["beside=x.h5", "sr.h5", "sr_plus", "untrained:a2"]


def test_nothing_prints() -> None:
    for file in MODULES:
        calls = [n for n in ast.walk(_tree(file)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        assert "print" not in {call.func.id for call in calls if isinstance(call.func, ast.Name)}, file
