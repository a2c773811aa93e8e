"""What the documents promise exists: linked files, headings, subcommands, make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from srcli.cli.app import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/cases.md",
    "docs/dvc.md",
    "docs/errors.md",
    "docs/extending.md",
    "docs/formats.md",
    "docs/gymnasium.md",
    "docs/probe.md",
    "docs/report.md",
    "docs/results.md",
    "docs/scale.md",
    "docs/studies.md",
)


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
        if not target.is_file() or (anchor and anchor not in _anchors(target)):
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


def test_readme_is_short_and_names_every_subcommand() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 250
    for command in app.registered_commands:
        assert f"`srcli {command.name}" in text, command.name
