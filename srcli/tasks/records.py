"""What is recorded of the packages that a task's episodes depend on."""

from __future__ import annotations

from typing import Any

from srcli.language.relations import own_relation_records
from srcli.tasks import task_origin


def extensions(task: str) -> dict[str, Any]:
    """The user's relations and the code of a user's task; empty without any. Picking alone depends on neither."""
    found: dict[str, Any] = {"relations": own_relation_records(), "task_code": task_origin(task)}
    return {key: value for key, value in found.items() if value} if task != "pick" else {}
