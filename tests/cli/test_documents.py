"""What the documents promise exists: linked files, headings, subcommands, make targets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from srcli.cli.app import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))


def _anchors(file: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    document = ROOT / name
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path) if path else document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_commands_exist(name: str) -> None:
    known = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    text = (ROOT / name).read_text(encoding="utf-8")
    spans = re.findall(r"`([^`\n]+)`", text) + re.findall(r"^\s*(srcli .+)$", text, flags=re.MULTILINE)
    used = {match.group(1) for span in spans if (match := re.match(r"srcli ([a-z-]+)\b", span))}
    assert used <= known
    wanted = {match.group(1) for span in spans if (match := re.match(r"make ([a-z-]+)$", span))}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert wanted <= targets


def test_the_example_that_reads_files_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/artifacts.md, as it is printed."""
    for folder in ("stages", "studies"):
        monkeypatch.syspath_prepend(str(ROOT / "tests" / folder))
    import fake_episodes
    import study_fakes

    from srcli.artifacts.demos import merge_parts, write_part

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_part(tmp_path / "0.part", fake_episodes.episode(None, "pick", (0, 1, 0)), 0, {"task": "pick"})
    merge_parts(tmp_path / "data" / "pick.h5", [tmp_path / "0.part"], {"task": "pick"}, 4, ("top", "left", "right"))
    study_fakes.write_features(tmp_path / "data" / "features.h5")
    (code,) = re.findall(r"^```python\n(.*?)```", (ROOT / "docs" / "artifacts.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/artifacts.md", "exec"), names)
    assert names["first"].spec.instruction and len(names["data"].split("train")) == 3


def test_readme_takes_two_minutes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120 and len(text.encode()) <= 7000


def test_every_subcommand_is_named() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for command in app.registered_commands:
        assert f"`srcli {command.name}" in text, command.name
