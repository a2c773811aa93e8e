"""Loading of public checkpoints (``checkpoint-rs.tar``, ``checkpoint-kn.tar``), which users obtain under its own licence."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from srcli.errors import ArtifactError, MismatchError, MissingAssetError
from srcli.models.graspnet.network import GraspNet

STATE = "model_state_dict"
_SHOWN = 3


def load_graspnet(path: str | os.PathLike[str], device: str = "cpu") -> GraspNet:
    """The network with the weights of a file, ready for inference.

    The file is what ``torch.save`` writes: a dictionary with ``model_state_dict`` (or the state itself); only tensors are read
    from it, no code is run. Names that begin with ``module.`` (parallel training) are understood.

    Raises:
        MissingAssetError: no such file.
        ArtifactError: not a checkpoint, or one that holds more than tensors and plain values.
        MismatchError: weights of another network; names what is missing, unknown or of another shape.
    """
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise MissingAssetError(
            f"no GraspNet weights at {name}",
            "checkpoint-rs.tar (RealSense) is linked from github.com/graspnet/graspnet-baseline; non-commercial use only",
        )
    state = _state(name)
    model = GraspNet()
    wanted = model.state_dict()
    # Older files were written before PyTorch counted batches.
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    unknown = [key for key in state if key not in wanted]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    faults = [
        f"{len(keys)} {what} ({', '.join(keys[:_SHOWN])}{', ...' if len(keys) > _SHOWN else ''})"
        for what, keys in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
        if keys
    ]
    if faults:
        raise MismatchError(
            f"{name} holds weights of another network: {'; '.join(faults)}", "expected those of GraspNet-baseline"
        )
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise ArtifactError(f"{name} holds weights that are NaN or infinite", "the file is damaged; fetch it again")
    model.load_state_dict(state, strict=False)
    return model.to(device).eval()


def _state(name: str) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(name, map_location="cpu", weights_only=True)
    except Exception as error:
        # What a damaged or foreign file raises depends on where it is damaged, and the messages advise unsafe loading.
        raise ArtifactError(
            f"{name} cannot be read safely as a checkpoint: it is damaged, or holds more than tensors",
            "fetch the file again; objects other than tensors, numbers and text are never loaded",
        ) from error
    if isinstance(content, Mapping) and STATE in content:
        content = content[STATE]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ArtifactError(f"{name} holds no '{STATE}'", "expected a dictionary of tensors")
    return {str(key).removeprefix("module."): value for key, value in content.items()}
