"""Importing open_clip where torchvision's compiled operators are missing.

A CPU build of torch beside a CUDA build of torchvision cannot import torchvision ("operator torchvision::nms does not exist"),
although open_clip only needs its image transforms. Declaring the schemas of the two operators is enough to import it.
"""

from __future__ import annotations

import importlib
import sys
from functools import lru_cache
from types import ModuleType
from typing import Any

_NMS = "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_QNMS = "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_keep_alive: list[Any] = []  # a torch.library.Library unregisters its schemas when it is collected


@lru_cache(maxsize=1)
def import_open_clip() -> ModuleType:
    """open_clip, imported once; the operator schemas are declared only when torchvision fails to import without them."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        import torch

        for name in [m for m in sys.modules if m == "torchvision" or m.startswith("torchvision.")]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in (_NMS, _QNMS):
            library.define(schema)  # type: ignore[no-untyped-call]
        _keep_alive.append(library)
    return importlib.import_module("open_clip")
