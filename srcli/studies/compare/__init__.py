"""``compare``: every chosen system on the same scenes, from demonstrations to one table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.artifacts.core import artifact_lock, atomic_write
from srcli.artifacts.study import COMPARISON, save_study
from srcli.errors import ConfigError
from srcli.methods.registry import spec_of
from srcli.parallel import part_of
from srcli.studies.compare.plan import plan_parts, rows_of
from srcli.studies.compare.policies import Policies, policies_of, to_train

if TYPE_CHECKING:
    from srcli.parallel import Executor, Progress
    from srcli.params import Params

OUT = Path("results/compare")
NAME = "compare"


@dataclass(frozen=True, slots=True)
class Summary:
    """What a comparison leaves behind.

    Attributes:
        results: the HDF5 file; ``json`` and ``table`` have the same rows as JSON and Markdown, ``figure`` as a picture.
        parts: by name, successes and episodes of each row.
        trained: methods trained now.
        left_out: methods without a row, and why.
        played, kept: episodes played now, and taken from an interrupted or earlier run.
    """

    results: Path
    json: Path
    table: Path
    figure: Path
    parts: Mapping[str, Mapping[str, str]]
    trained: tuple[str, ...]
    left_out: Mapping[str, str]
    played: int
    kept: int
    markdown: str


def run(
    params: Params,
    out_dir: Path = OUT,
    *,
    features: Path | None = None,
    demos: Sequence[Path] = (),
    policies: Sequence[str] = (),
    cases: Sequence[Path] = (),
    workers: int = 1,
    device: str = "cpu",
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> Summary:
    """Train what needs training, play every method on every part, and write Table 1.

    Policies and finished episodes are kept in ``out_dir``: a run that was stopped goes on, and a method added later is trained
    and played alone. A method whose training fails has no row; the others go on, and the table says why.

    Args:
        features: what methods that read features are trained on.
        demos: demonstrations, for those that read them.
        policies: ``NAME=FILE``: policies that take the place of training.
        cases: folders of case files, each of one task; each is a part of its own.

    Raises:
        UnknownNameError: an unknown method, suite or task.
        ConfigError: the reference is not among the methods, or a folder of cases has several tasks.
        ArtifactError: features, demonstrations, a given policy or a case file cannot be used.
        BusyError: another run is writing the folder.
    """
    from srcli.stages.evaluate import run as evaluate
    from srcli.studies.compare import record
    from srcli.studies.compare.timing import decision_times

    out_dir = Path(out_dir)
    parts = plan_parts(params, cases)
    with artifact_lock(out_dir / f"{NAME}.h5"):
        found = policies_of(params, out_dir / "policies", features, demos, policies, device, progress)
        shown = [(part, rows) for part in parts if (rows := rows_of(part, params, found)).methods]
        if not shown:
            why = "; ".join(f"{name}: {reason}" for name, reason in found.left_out.items())
            raise ConfigError(f"no method of the comparison can be played ({why})", "see `srcli methods` for those with weights")
        total = sum(part.episodes * len(rows.methods) for part, rows in shown)
        played = kept = before = 0
        records = []
        for part, rows in shown:
            done = evaluate(
                rows.params,
                rows.methods,
                part.folder(out_dir),
                part.suite,
                cases=part.cases,
                workers=workers,
                device=device,
                progress=part_of(progress, part.name, before, total),
                executor=executor,
            )
            before += part.episodes * len(rows.methods)
            played, kept = played + done.played, kept + done.kept
            records.append(record.part_record(part, rows, done.results))
        times = decision_times(params, [rows for _, rows in shown], out_dir / "timings.json", progress)
        data = record.whole(params, records, [rows for _, rows in shown], found, times)
        return _write(out_dir, params, data, found, played, kept)


def planned(
    params: Params,
    cases: Sequence[Path] = (),
    policies: Sequence[str] = (),
    features: Path | None = None,
    demos: Sequence[Path] = (),
) -> tuple[str, ...]:
    """What would be done, a line each: trainings, methods without a row, and the parts. Nothing is trained or played.

    Raises:
        As :func:`run`.
    """
    parts = plan_parts(params, cases)
    train, lacking = to_train(params, features, demos, policies)
    told = [f"train {', '.join(train)}, where it is not done yet"] if train else []
    told += [f"no row for {', '.join(lacking)}: no policy, and no data to train one on"] if lacking else []
    for part in parts:
        rows = [name for name in part.methods if name not in lacking]
        learned = any(spec_of(name).fit is not None for name in rows)
        beside = ", each that learns beside its untrained control" if learned else ""
        told.append(f"{part.name}: {part.episodes} episodes of {', '.join(rows)}{beside}")
    return tuple(told)


def _write(out_dir: Path, params: Params, data: dict[str, Any], found: Policies, played: int, kept: int) -> Summary:
    from srcli.reporting.comparison import draw, markdown
    from srcli.studies.compare.record import columns, without_times
    from srcli.studies.study import recorded_params

    stem = out_dir / NAME
    config = {"study": NAME, "params": recorded_params(params)}
    save_study(stem.with_suffix(".h5"), COMPARISON, *columns(data), without_times(data), config)
    text = markdown(data)
    for suffix, content in ((".json", json.dumps(data, indent=1, ensure_ascii=False) + "\n"), (".md", text)):
        with atomic_write(stem.with_suffix(suffix)) as temporary:
            temporary.write_text(content, encoding="utf-8")
    figure = draw(stem.with_suffix(".png"), data)
    return Summary(
        results=stem.with_suffix(".h5"),
        json=stem.with_suffix(".json"),
        table=stem.with_suffix(".md"),
        figure=figure,
        parts={
            entry["part"]: {f"{row['split']} {row['method']}": f"{row['k']}/{row['n']}" for row in entry["rows"]}
            for entry in data["parts"]
        },
        trained=found.trained,
        left_out=dict(found.left_out),
        played=played,
        kept=kept,
        markdown=text,
    )
