"""The cube that RVT-2 looks at, its three orthographic views, and what is drawn on them.

Goyal et al., "RVT-2: Learning Precise Manipulation from Few Demonstrations", RSS 2024. A point of the cube has coordinates in
[-1, 1]. A view is an image with one axis of the cube along its first index and another along its second; it looks along the
third, from its positive side. So pixel (i, j) of a view of R pixels a side is centred at -1 + (2 i + 1) / R, -1 + (2 j + 1) / R.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


class View(NamedTuple):
    """Axes of the cube (0, 1, 2 for x, y, z) along the first and the second index of an image, and the one looked along."""

    first: int
    second: int
    depth: int


VIEWS = (View(0, 1, 2), View(1, 2, 0), View(0, 2, 1))
"""Top, front and right: any two share one axis, so that three maps say where a point is twice over."""

_NOTHING = torch.iinfo(torch.int64).max


def pixel_centres(size: int) -> Float[Tensor, " r"]:
    """Coordinates in the cube of the centres of ``size`` pixels."""
    return (2.0 * torch.arange(size) + 1.0) / size - 1.0


def project(points: Float[Tensor, "*b 3"], size: int) -> Float[Tensor, "*b 3 2"]:
    """Where points of the cube lie in the views, in pixels: k + 0.5 at the centre of pixel k."""
    pixels = (points + 1.0) * (0.5 * size)
    return torch.stack([pixels[..., [view.first, view.second]] for view in VIEWS], dim=-2)


def draw(points: Float[Tensor, "p 3"], rows: Int[Tensor, " p"], count: int, size: int, radius: float) -> Int[Tensor, "b 3 r r"]:
    """Which point each pixel shows: a z-buffer over discs.

    A point covers the pixel that it lies in and all whose centres are at most ``radius`` away. Points outside the cube are not
    drawn. Of equally near ones the first is seen.

    Args:
        points: P points of all scenes, coordinates in the cube.
        rows: the scene of each.
        count: B scenes.
        size: R pixels along each side.
        radius: of the discs, in units of the cube (its side is 2).

    Returns:
        numbers of points, P where a pixel shows none.
    """
    total = len(points)
    inside = torch.nonzero((points.abs() < 1.0).all(dim=-1))[:, 0]
    kept, scene = points[inside], rows[inside]
    pixels = project(kept, size)  # (q, 3, 2)
    reach = radius * 0.5 * size
    steps = range(-int(reach + 0.5), int(reach + 0.5) + 1)
    buffer = torch.full((count * len(VIEWS) * size * size,), _NOTHING, device=points.device)
    for number, view in enumerate(VIEWS):
        # The bits of floats that are not negative are ordered as the floats are.
        depth = (1.0 - kept[:, view.depth]).contiguous().view(torch.int32).to(torch.int64)
        key = (depth << 32) | inside
        base = (scene * len(VIEWS) + number) * (size * size)
        cell = pixels[:, number].floor().to(torch.int64).clamp_(0, size - 1)
        off = cell + 0.5 - pixels[:, number]
        for i in steps:
            for j in steps:
                row, column = cell[:, 0] + i, cell[:, 1] + j
                shown = (row >= 0) & (row < size) & (column >= 0) & (column < size)
                if i or j:
                    shown &= (off[:, 0] + i) ** 2 + (off[:, 1] + j) ** 2 <= reach * reach
                where = (base + row * size + column)[shown]
                buffer.scatter_reduce_(0, where, key[shown], "amin")
    index = torch.where(buffer == _NOTHING, total, buffer & 0xFFFFFFFF)
    return index.view(count, len(VIEWS), size, size)


def images(
    index: Int[Tensor, "b 3 r r"], points: Float[Tensor, "p 3"], values: Float[Tensor, "p c"]
) -> Float[Tensor, "b 3 c7 r r"]:
    """The views' channels: 3 of position, C of values, 1 of depth, 3 of the pixel.

    Position is in units of the cube; depth counts from the side that is looked from, divided by its mean over what the view
    shows; of the pixel they are the coordinates of its centre on the cube's middle plane. What shows no point is 0.
    """
    count, _, size, _ = index.shape
    shown = index < len(points)
    padded = torch.cat([torch.cat([points, values], dim=-1), points.new_zeros(1, points.shape[-1] + values.shape[-1])])
    seen = padded[index].permute(0, 1, 4, 2, 3)  # (b, 3, 3 + c, r, r)
    depth = torch.stack([1.0 - seen[:, number, view.depth] for number, view in enumerate(VIEWS)], dim=1) * shown
    mean = depth.sum(dim=(2, 3), keepdim=True) / shown.sum(dim=(2, 3), keepdim=True).clamp_min(1)
    depth = depth / mean.clamp_min(1e-6)
    pixel = pixel_plane(size).to(points).expand(count, -1, -1, -1, -1)
    return torch.cat([seen, depth[:, :, None], pixel], dim=2)


def pixel_plane(size: int) -> Float[Tensor, "3 3 r r"]:
    """(views, xyz, R, R): where the centre of each pixel lies on the plane through the cube's middle."""
    centres = pixel_centres(size)
    plane = torch.zeros(len(VIEWS), 3, size, size)
    for number, view in enumerate(VIEWS):
        plane[number, view.first] = centres[:, None]
        plane[number, view.second] = centres[None, :]
    return plane


def gaussians(points: Float[Tensor, "b 3"], size: int, sigma: float) -> Float[Tensor, "b 3 r r"]:
    """Targets of the heat maps: Gaussians about the projected points, cut off at three sigma; each map sums to 1.

    A point outside the cube has maps of zeros.

    Args:
        sigma: pixels (published: 1.5).
    """
    at = project(points, size)  # (b, 3, 2)
    centres = torch.arange(size, device=points.device) + 0.5
    square = (centres - at[..., :1]).square()[..., :, None] + (centres - at[..., 1:]).square()[..., None, :]
    maps = torch.exp(-0.5 * square / sigma**2) * (square <= (3.0 * sigma) ** 2)
    maps = maps * (points.abs() < 1.0).all(dim=-1)[:, None, None, None]
    total = maps.sum(dim=(2, 3), keepdim=True)
    return maps / total.clamp_min(torch.finfo(maps.dtype).tiny)


def grid_scores(maps: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b r r r"]:
    """Mean over the views of the softmaxed heat maps at every point of a regular grid over the cube.

    The grid's points project to centres of pixels, so that the score is s(x, y, z) = (T(x, y) + F(y, z) + R(x, z)) / 3.
    """
    probability = maps.flatten(2).softmax(dim=-1).view_as(maps)
    top, front, right = probability.unbind(dim=1)
    return (top[:, :, :, None] + front[:, None, :, :] + right[:, :, None, :]) / len(VIEWS)


def best_point(
    maps: Float[Tensor, "b 3 r r"], blocked: Bool[Tensor, "b r r r"] | None = None
) -> tuple[Float[Tensor, "b 3"], Float[Tensor, " b"]]:
    """The point of the grid with the highest score, coordinates in the cube, and its score; the first of equals.

    Args:
        blocked: points that must not be taken. Where all are blocked the score is -inf.
    """
    scores = grid_scores(maps)
    if blocked is not None:
        scores = scores.masked_fill(blocked, float("-inf"))
    size = maps.shape[-1]
    best, flat = scores.flatten(1).max(dim=1)
    cells = torch.stack([flat // (size * size), flat // size % size, flat % size], dim=-1)
    return pixel_centres(size).to(maps)[cells], best
