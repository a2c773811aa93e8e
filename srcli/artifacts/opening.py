"""Any artifact opened as what it is."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from srcli.artifacts.core import DEMOS, EVALUATION, FEATURES, POLICY, SCHEMA, SCHEMAS, open_artifact
from srcli.artifacts.demos import DemoDataset
from srcli.artifacts.evaluation import EvaluationFile, load_evaluation
from srcli.artifacts.features import FeatureDataset
from srcli.artifacts.policy import PolicyFile, load_policy
from srcli.artifacts.study import StudyFile, load_study

Artifact: TypeAlias = DemoDataset | FeatureDataset | PolicyFile | EvaluationFile | StudyFile


def open_any(path: Path | str) -> Artifact:
    """Demonstrations, features, a policy, an evaluation or a study, told by the file itself.

    Raises:
        ArtifactError: missing, truncated, foreign, of another version or incomplete.
    """
    with open_artifact(path) as handle:
        name = str(handle.attrs[SCHEMA])
    if name == DEMOS.name:
        return DemoDataset(path)
    if name == FEATURES.name:
        return FeatureDataset(path)
    if name == POLICY.name:
        return load_policy(path)
    if name == EVALUATION.name:
        return load_evaluation(path)
    return load_study(path, SCHEMAS[name])
