"""Executors behind one protocol: serial, processes, ray."""

from srcli.parallel.base import Executor, ExecutorKind, Progress, make_executor, part_of

__all__ = ["Executor", "ExecutorKind", "Progress", "make_executor", "part_of"]
