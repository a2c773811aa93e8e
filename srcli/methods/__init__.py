"""Every system that chooses an action: one folder, or one file, each."""

from srcli.methods.base import Choice, Decision, MethodSpec, Policy
from srcli.methods.registry import ENTRY_POINTS, UNTRAINED, spec_of, specs

__all__ = ["ENTRY_POINTS", "UNTRAINED", "Choice", "Decision", "MethodSpec", "Policy", "spec_of", "specs"]

WHOLE_VIEWS = (
    "learning/keyposes.py",
    "learning/whole_view.py",
    "methods/keypose.py",
    "methods/networks.py",
)
"""Shared files that methods which look at whole views act with (``MethodSpec.shares``)."""
