"""Stage ``report``: result files become one HTML page and a Markdown file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srcli.artifacts.core import atomic_write, output_lock
from srcli.config.report import ReportConfig
from srcli.parallel import Progress
from srcli.reporting.compose import compose
from srcli.reporting.page import render_page
from srcli.reporting.plain import render_markdown
from srcli.reporting.result_files import gather

if TYPE_CHECKING:
    from srcli.params import Params


@dataclass(frozen=True, slots=True)
class Summary:
    """What the report is made of.

    Attributes:
        page, markdown: the files written.
        size: bytes of the page.
        headline: its first sentence.
        evaluations, ablations, sweeps, policies: how many files of each kind went in.
        missing: what could not be built, and the commands that would change that.
        unreadable: files that were found and could not be read.
    """

    page: Path
    markdown: Path
    size: int
    headline: str
    evaluations: int
    ablations: int
    sweeps: int
    policies: int
    missing: tuple[str, ...]
    unreadable: tuple[str, ...]


def run(
    params: Params,
    inputs: Sequence[Path],
    out_dir: Path,
    section: ReportConfig | None = None,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Summary:
    """Write ``report.html`` and ``report.md`` into a folder. What is missing is named in its section; the page is made anyway.

    Args:
        inputs: files of evaluations, ablations, noise sweeps and policies, and folders that are searched for them.
        section: what is replayed; None takes the defaults.

    Raises:
        ArtifactError: a path does not exist, or a file that was named cannot be used.
        MismatchError: a policy was trained with another encoder than the parameters name.
        BusyError: another run is writing the folder.
        DiskError: the disk is full or the place is not writable.
    """
    section = section or ReportConfig()
    results = gather([Path(path) for path in inputs])
    # The simulator starts with a line of its own: only when the input has been read.
    from srcli.reporting.replay import case_studies

    out_dir = Path(out_dir)
    page, markdown = out_dir / "report.html", out_dir / "report.md"
    with output_lock(page):
        cases = case_studies(results, params, section, device, progress)
        report = compose(results, cases)
        html = render_page(report)
        for path, text in ((page, html), (markdown, render_markdown(report, page.name))):
            with atomic_write(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return Summary(
        page=page,
        markdown=markdown,
        size=len(html.encode()),
        headline=report.headline.replace("**", ""),
        evaluations=len(results.evaluations),
        ablations=len(results.ablations),
        sweeps=len(results.sweeps),
        policies=len(results.policies),
        missing=tuple(f"{gap.what} Run: `{gap.command}`" for part in report.sections for gap in part.missing),
        unreadable=tuple(f"{name}: {why}" for name, why in results.unreadable),
    )
