"""What of the user's library a stage draws from: it belongs to what its output depends on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from srcli.objects.library import library_folder, library_records


def drawn(splits: Collection[str]) -> dict[str, Any]:
    """Records of the library's objects of these splits (``user``: of none), as a key ``library``; empty where there are none."""
    found = {name: record for name, record in library_records(library_folder()).items() if record["split"] in splits}
    return {"library": found} if found else {}
