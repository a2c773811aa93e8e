"""The network of :mod:`srcli.actions.closing` as it is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from srcli.actions.closing import GRASP_INPUTS, LAYERS, POINT_INPUTS, STANDARD
from srcli.actions.features import FEATURES
from srcli.types import F32


class Closing(nn.Module):
    """Shared layers over points, greatest and mean answer, layers over these and what is known of the grasp.

    Args:
        widths: of the three layers over points and of the one over their pooled answers.
        mean, scale: (len(FEATURES),) by which features are standardised.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, widths: tuple[int, int, int, int], mean: F32, scale: F32) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean.copy()))
        self.register_buffer("scale", torch.from_numpy(scale.copy()))
        sizes = [POINT_INPUTS, *widths, 1]
        for number, name in enumerate(LAYERS):
            before = 2 * sizes[number] + GRASP_INPUTS + len(FEATURES) if name == "pooled" else sizes[number]
            self.add_module(name, nn.Linear(before, sizes[number + 1]))

    def forward(self, each: Tensor, grasp: Tensor, features: Tensor, there: Tensor) -> Tensor:
        """Logits (B,) that the grasps hold.

        Args:
            each: (B, P, POINT_INPUTS); grasp: (B, GRASP_INPUTS), as :func:`srcli.actions.closing.inputs` gives them.
            features: (B, len(FEATURES)).
            there: (B, P) bool, points that are not padding.
        """
        layers: Any = self._modules
        hidden = each
        for name in LAYERS[:3]:
            hidden = torch.relu(layers[name](hidden))
        weight = there[..., None].to(hidden.dtype)
        # The answers are never negative: padding at zero does not change the greatest one.
        hidden = hidden * weight
        mean = hidden.sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)
        features = ((features - self.mean) / self.scale).clamp(-4.0, 4.0)
        joined = torch.cat([hidden.amax(dim=1), mean, grasp, features], dim=1)
        logit: Tensor = layers["logit"](torch.relu(layers["pooled"](joined)))[:, 0]
        return logit

    def arrays(self) -> dict[str, F32]:
        """The weights as :class:`srcli.actions.closing.ClosingNetwork` takes them."""
        stored = {name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()}
        standard = (stored.pop("mean"), stored.pop("scale"))
        return stored | dict(zip(STANDARD, standard, strict=True))
