"""Every system that chooses an action: one folder, or one file, each."""

from srcli.methods.base import Choice, Decision, MethodSpec, Policy
from srcli.methods.registry import ENTRY_POINTS, UNTRAINED, spec_of, specs

__all__ = ["ENTRY_POINTS", "UNTRAINED", "Choice", "Decision", "MethodSpec", "Policy", "spec_of", "specs"]
