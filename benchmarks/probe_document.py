"""The numbers of docs/probe.md: runs ``srcli probe`` at its default scale and puts the tables between the document's marks.

Run: ``python benchmarks/probe_document.py`` (about an hour on one core), or with ``--from results/probe`` after ``srcli probe``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "probe.md"
PARTS = ("encoder", "grasps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--from", dest="folder", type=Path, help="folder of an earlier srcli probe; its tables are taken as they are"
    )
    arguments = parser.parse_args()
    folder: Path = arguments.folder or Path("results/probe")
    if arguments.folder is None:
        subprocess.run([sys.executable, "-m", "srcli", "probe", "--workers", "1", "--out", str(folder)], check=True)
    text = DOCUMENT.read_text(encoding="utf-8")
    for part in PARTS:
        table = folder / f"{part}.md"
        if table.is_file():
            # Below the document's own headings.
            body = table.read_text(encoding="utf-8").strip().replace("## ", "### ")
            before, _, rest = text.partition(f"<!-- {part} -->\n")
            _, _, after = rest.partition(f"<!-- end of {part} -->")
            text = f"{before}<!-- {part} -->\n{body}\n<!-- end of {part} -->{after}"
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
