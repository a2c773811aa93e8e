"""Positions for attention: Fourier features, 3-D rotary code, tool frames, and two cheap relative-position biases.

Both biases are written as inner products, so that no tensor over pairs of points and coordinates is ever built.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# Centre and half-extent of the pick and place workspace (x 0.276..0.724, y -0.224..0.224 m): positions are fed as about -1..1.
CENTRE = (0.5, 0.0, 0.0)
HALF_EXTENT = 0.224
FREQUENCIES = 5


def exactly(like: Tensor) -> torch.autocast:
    """Arithmetic as the tensors say, where autocast would take bf16: a workspace of 45 cm would be read in steps of 2 mm."""
    return torch.autocast(like.device.type, enabled=False)


def fourier(x: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 33"]:
    """gamma(p) = [p, sin(2^i p), cos(2^i p)], i = 0..4 (A2, appendix)."""
    scaled = x[..., None, :] * (2.0 ** torch.arange(FREQUENCIES, device=x.device, dtype=x.dtype))[:, None]
    return torch.cat([x, scaled.sin().flatten(-2), scaled.cos().flatten(-2)], dim=-1)


def rotary(values: Float[Tensor, "b n d"], x: Float[Tensor, "b n 3"], base: float = 10000.0) -> Float[Tensor, "b n d"]:
    """3-D rotary code (A2): a third of the channels per axis, turned in pairs by x * base^(-2i/channels); the rest stays."""
    per_axis = 2 * (values.shape[-1] // 6)
    if per_axis == 0:
        return values
    theta = base ** (-torch.arange(0, per_axis, 2, device=x.device, dtype=x.dtype) / per_axis)
    angle = (x[..., None] * theta).flatten(-2)  # (b, n, 3 * per_axis / 2)
    cos, sin = angle.cos().to(values.dtype), angle.sin().to(values.dtype)
    turned = values[..., : 3 * per_axis]
    even, odd = turned[..., 0::2], turned[..., 1::2]
    pairs = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten(-2)
    return torch.cat([pairs, values[..., 3 * per_axis :]], dim=-1)


def tool_axes(quaternions: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 3 3"]:
    """Rotation matrices of xyzw quaternions; column a is the tool's axis a in the world frame."""
    q = quaternions / quaternions.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    x, y, z, w = q.unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], dim=-1),
        torch.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], dim=-1),
        torch.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


class ToolWindow(nn.Module):
    """Bias of 2-Align towards points near a candidate's tip, one Gaussian window per head in the candidate's tool frame.

    bias_h(k, j) = -1/2 sum_a ((R_k^T (p_j - t_k))_a - c_ha)^2 / sigma_ha^2 with learned centres c and radii sigma (metres).
    The paper does not state this; it lets a candidate read its surroundings from the first update on. Expanded in monomials of
    p_j it is one product of (K, 10) by (10, N) per head, computed in at least float32 because its terms cancel.
    """

    def __init__(self, heads: int, scale: float) -> None:
        super().__init__()
        spread = torch.linspace(0.6, 1.6, heads)[:, None].expand(heads, 3)
        self.log_radius = nn.Parameter((spread * scale).log().clone())  # metres
        self.centre = nn.Parameter(torch.zeros(heads, 3))  # in units of `scale`
        self.scale = scale

    def forward(self, candidates: Float[Tensor, "b k 7"], points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b h k n"]:
        """Metres in, log-weights (at most 0) out."""
        with exactly(points):
            return self._bias(candidates, points)

    def _bias(self, candidates: Float[Tensor, "b k 7"], points: Float[Tensor, "b n 3"]) -> Float[Tensor, "b h k n"]:
        kind = points.dtype
        origin = torch.tensor(CENTRE, device=points.device, dtype=kind)
        p, t = points - origin, candidates[..., :3] - origin
        axes = tool_axes(candidates[..., 3:])  # (b, k, xyz, axis)
        weight = torch.exp(-2.0 * self.log_radius.to(kind))  # (h, axis)
        offset = torch.einsum("bkxa,bkx->bka", axes, t)[:, None] + (self.centre.to(kind) * self.scale)[:, None]  # (b, h, k, axis)
        form = torch.einsum("ha,bkxa,bkya->bhkxy", weight, axes, axes)
        linear = torch.einsum("ha,bhka,bkxa->bhkx", weight, offset, axes)
        constant = -0.5 * torch.einsum("ha,bhka->bhk", weight, offset * offset)
        i, j = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)
        twice = torch.tensor([-0.5, -0.5, -0.5, -1.0, -1.0, -1.0], device=p.device, dtype=kind)
        coefficients = torch.cat([form[..., i, j] * twice, linear, constant[..., None]], dim=-1)  # (b, h, k, 10)
        monomials = torch.cat([p[..., i] * p[..., j], p, torch.ones_like(p[..., :1])], dim=-1)  # (b, n, 10)
        b, h, k, _ = coefficients.shape
        return torch.bmm(coefficients.reshape(b, h * k, 10), monomials.transpose(1, 2)).view(b, h, k, -1)


class RelativeWaves(nn.Module):
    """B of DSSA: a learned function of p_i - p_j per head, of low rank.

    B_h(p_i - p_j) = sum_r c_hr cos(w_r . (p_i - p_j)) + e_hr sin(w_r . (p_i - p_j)) with learned frequencies w (rad per metre)
    and weights c, e. As cos and sin of a difference are products of terms in p_i and p_j, B is added to the logits by
    appending 2R channels to queries and keys. The paper calls B a learnable relative position offset and does not state its
    form. It starts as a bump of about 5 cm (random Fourier features of a Gaussian, from a fixed seed).
    """

    def __init__(self, heads: int, rank: int, radius: float = 0.05, height: float = 2.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.frequency = nn.Parameter(torch.randn(rank, 3, generator=generator))  # in units of 1 / radius
        self.even = nn.Parameter(torch.full((heads, rank), height / max(rank, 1)))
        self.odd = nn.Parameter(torch.zeros(heads, rank))
        self.radius = radius

    def forward(self, points: Float[Tensor, "b n 3"]) -> tuple[Float[Tensor, "b h n r2"], Float[Tensor, "b 1 n r2"]]:
        """Channels to append to queries and to keys; positions in metres."""
        kind = points.dtype
        with exactly(points):
            phase = (points / self.radius) @ self.frequency.to(kind).T  # (b, n, r)
        cos, sin = phase.cos()[:, None], phase.sin()[:, None]  # (b, 1, n, r)
        even, odd = self.even.to(kind)[:, None], self.odd.to(kind)[:, None]  # (h, 1, r)
        query = torch.cat([even * cos + odd * sin, even * sin - odd * cos], dim=-1)
        return query, torch.cat([cos, sin], dim=-1)


def quick_gelu(x: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    """x * sigmoid(1.702 x), the activation of OpenAI's CLIP and of A2."""
    return x * torch.sigmoid(1.702 * x)


def split_heads(x: Float[Tensor, "b n d"], heads: int) -> Float[Tensor, "b h n e"]:
    """(b, n, h * e) to (b, h, n, e)."""
    b, n, d = x.shape
    return x.view(b, n, heads, d // heads).transpose(1, 2)


def merge_heads(x: Float[Tensor, "b h n e"]) -> Float[Tensor, "b n d"]:
    """(b, h, n, e) to (b, n, h * e)."""
    return x.transpose(1, 2).flatten(2)


def inverse_root(width: int) -> float:
    """1 / sqrt(width), the scale of dot-product logits."""
    return 1.0 / math.sqrt(width)
