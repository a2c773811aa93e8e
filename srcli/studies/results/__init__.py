"""``results``: the evaluations that docs/results.md consists of, what of them is recorded, and the pages made of that record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ArtifactError, ConfigError
from srcli.parallel import part_of
from srcli.studies.results.parts import Part, plan_parts

if TYPE_CHECKING:
    from srcli.parallel import Executor, Progress
    from srcli.params import Params

OUT = Path("runs/results")
DATA, PAGE = "results.json", "results.md"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a measurement leaves behind.

    Attributes:
        parts: by name, successes and episodes of each row.
        played, kept: episodes played now, and taken from an interrupted or earlier run.
        data, page, readme: the files written; None where they were not.
        outdated: what the numbers are older than, if they were not measured now.
    """

    parts: Mapping[str, Mapping[str, str]]
    played: int
    kept: int
    data: Path | None
    page: Path | None
    readme: Path | None
    outdated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """What is left to play of a part."""

    part: str
    methods: tuple[str, ...]
    left_out: tuple[str, ...]
    episodes: int
    missing: int


def missing(
    params: Params, out_dir: Path = OUT, *, only: tuple[str, ...] = (), reuse: Sequence[Path] = ()
) -> tuple[Missing, ...]:
    """How many episodes each part has, and how many of them are still to be played.

    Raises:
        As :func:`run`.
    """
    return tuple(_missing(part, Path(out_dir), reuse) for part in plan_parts(params, only))


def _missing(part: Part, out_dir: Path, reuse: Sequence[Path]) -> Missing:
    from srcli.evaluation.journal import journals_in
    from srcli.evaluation.methods import chosen_methods
    from srcli.evaluation.plan import journal_of, make_setup, missing_jobs, planned_episodes

    methods = chosen_methods(part.params, ())
    episodes = planned_episodes(part.params, part.suite, None)
    setup = make_setup(part.params, methods, (part.task,))
    folder = part.folder(out_dir)
    elsewhere = journals_in(reuse)
    journals = {part.task: [journal_of(m, setup, part.task, part.params.seed, folder / "episodes", elsewhere) for m in methods]}
    jobs = missing_jobs(episodes, methods, journals, folder, 0)
    left = sum(len(job.methods) for job in jobs)
    return Missing(part.name, part.methods, part.left_out, len(episodes) * len(methods), left)


def run(
    params: Params,
    out_dir: Path = OUT,
    docs: Path = Path("docs"),
    readme: Path | None = Path("README.md"),
    *,
    only: tuple[str, ...] = (),
    reuse: Sequence[Path] = (),
    allow_dirty: bool = False,
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Summary:
    """Run the evaluations of section ``results``, then write docs/results.json, docs/results.md and the table of the README.

    Finished episodes are kept in ``out_dir``: a killed run goes on.

    Args:
        only: names of parts: these alone are run, and nothing is written, so that a measurement may be cut into pieces.
        readme: file with the markers that the table belongs between; None: leave it alone.
        reuse: folders of other evaluations; their episodes are taken where everything they depend on is the same.
        allow_dirty: measure with changes that are not committed; the record then says so.

    Raises:
        ConfigError: the work tree has changes, the README has no place for the table, or the user has objects of their own.
        UnknownNameError: unknown suite, method or part.
        MissingAssetError: no weights of a method are shipped.
        BusyError: another run is writing the folder.
    """
    from srcli.artifacts.core import output_lock
    from srcli.evaluation.methods import chosen_methods
    from srcli.objects.library import library_folder, library_records
    from srcli.stages.evaluate import run as evaluate
    from srcli.studies.results import facts, record

    out_dir, data_file, page_file = Path(out_dir), Path(docs) / DATA, Path(docs) / PAGE
    parts = plan_parts(params, only)
    if readme is not None and not only:
        _readable(readme)
    if own := library_records(library_folder()):
        raise ConfigError(
            f"{len(own)} object(s) of your own would be among those of the scenes ({', '.join(list(own)[:3])})",
            "name an empty folder as library: SRCLI_OBJECTS=FOLDER srcli results",
        )
    # All that the numbers stand on is taken before the first episode: a file may be edited while they are played.
    commit = facts.commit([data_file, page_file, *([readme] if readme is not None else [])], allow_dirty)
    code = facts.shared_code()
    stands_on = [
        {
            "commit": commit,
            "code": code,
            "parameters": facts.shared_parameters(part.params),
            "weights": facts.shared_weights(part.params),
        }
        for part in parts
    ]
    methods = [{m.label: facts.described(m) for m in chosen_methods(part.params, ())} for part in parts]
    sizes = [_missing(part, out_dir, reuse).episodes for part in parts]
    played = kept = 0
    records: list[dict[str, Any]] = []
    # Parts may be measured side by side; each of their folders has a lock of its own.
    with nullcontext() if only else output_lock(out_dir / "results"):
        for number, part in enumerate(parts):
            told = part_of(progress, part.name, sum(sizes[:number]), sum(sizes))
            done = evaluate(
                part.params,
                (),
                part.folder(out_dir),
                part.suite,
                reuse=reuse,
                workers=workers,
                device=device,
                progress=told,
                executor=executor,
            )
            played, kept = played + done.played, kept + done.kept
            records.append(record.part_record(part, stands_on[number], methods[number], done.results))
        counted = _counted(records)
        if only:
            return Summary(counted, played, kept, None, None, None)
        data = {"schema": record.SCHEMA, "parts": [_as_before(entry, data_file) for entry in records]}
        _write(data_file, json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        _pages(data, page_file, readme)
    return Summary(counted, played, kept, data_file, page_file, readme)


def write(docs: Path = Path("docs"), readme: Path | None = Path("README.md")) -> Summary:
    """Write docs/results.md and the table of the README anew from docs/results.json; nothing is measured.

    Raises:
        ArtifactError: there is no record, or it cannot be read.
        ConfigError: the README has no place for the table.
    """
    from srcli.studies.results import age

    data = load(Path(docs) / DATA)
    page_file = Path(docs) / PAGE
    _pages(data, page_file, readme)
    return Summary(_counted(data["parts"]), 0, 0, None, page_file, readme, tuple(age.outdated(data)))


def _counted(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    return {entry["part"]: {f"{r['split']} {r['method']}": f"{r['k']}/{r['n']}" for r in entry["rows"]} for entry in entries}


def _pages(data: Mapping[str, Any], page_file: Path, readme: Path | None) -> None:
    """All that is made of the record."""
    from srcli.studies.results import page

    text = page.with_table(_readable(readme), page.readme_table(data), str(readme)) if readme is not None else ""
    _write(page_file, page.page(data))
    if readme is not None:
        _write(readme, text)


def load(path: Path) -> dict[str, Any]:
    """What docs/results.json records.

    Raises:
        ArtifactError: it is missing, or no record of results.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such file: nothing has been measured yet", "measure with `make results`") from None
    except ValueError as error:
        raise ArtifactError(f"{path}: is not JSON: {error}", "take it from version control, or measure: `make results`") from None
    if not isinstance(data, dict) or not isinstance(data.get("parts"), list):
        raise ArtifactError(f"{path}: is no record of results", "take it from version control, or measure: `make results`")
    return data


def _as_before(entry: dict[str, Any], path: Path) -> dict[str, Any]:
    """The entry with the commit that it was first recorded with, if nothing else has changed since."""
    from srcli.studies.results.facts import DIRTY

    try:
        earlier = next((e for e in load(path)["parts"] if e.get("part") == entry["part"]), None)
    except ArtifactError:
        return entry
    if earlier is None or str(earlier.get("commit", DIRTY)).endswith(DIRTY):
        return entry
    known = {**entry, "commit": earlier["commit"]}
    return known if json.loads(json.dumps(known)) == earlier else entry


def _readable(readme: Path) -> str:
    """The README's text, checked before anything is measured."""
    from srcli.studies.results.page import with_table

    try:
        text = Path(readme).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{readme}: no such file", "run in the repository, or give --readme FILE or --no-readme") from None
    with_table(text, "", str(readme))
    return text


def _write(path: Path, text: str) -> None:
    from srcli.artifacts.core import atomic_write

    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
