"""Measures GraspNet's network on a cloud like those of a scene: whole forward pass, and its point operations alone.

    python benchmarks/graspnet_forward.py --points 20000 --threads 2 --repeats 3 [--weights checkpoint-rs.tar] [--device cuda]

The weights do not change the time; without a file they are random. The cloud is a table of 45 cm with boxes on it, 0.6 m away.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from srcli.models.graspnet.checkpoint import load_graspnet
from srcli.models.graspnet.decode import decode
from srcli.models.graspnet.network import CYLINDER_LOW, CYLINDER_RADIUS, CYLINDER_SAMPLES, DEPTHS, GraspNet
from srcli.models.graspnet.ops import ball_query, cylinder_query, farthest_points, gather
from srcli.models.graspnet.views import approach_frames


def scene(count: int, device: str) -> Tensor:
    """(1, count, 3) metres, in a camera's frame."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(count, 3, generator=generator) * torch.tensor([0.45, 0.45, 0.002]) + torch.tensor([-0.225, -0.225, 0.6])
    for corner in (torch.rand(12, 2, generator=generator) * 0.35 - 0.2).tolist():
        inside = ((points[:, :2] - torch.tensor(corner)).abs() < 0.03).all(dim=1)
        points[inside, 2] -= 0.06
    return points[None].to(device)


def seconds(action: Callable[[], object], repeats: int, device: str) -> tuple[float, float]:
    """Median and least wall time after one run that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        action()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    kept = sorted(times[1:])
    return kept[len(kept) // 2], kept[0]


def main() -> None:
    """Print one line per part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = load_graspnet(options.weights) if options.weights else GraspNet().eval()
    model = model.to(options.device)
    cloud = scene(options.points, options.device)
    centres = gather(cloud, farthest_points(cloud, 2048))
    seeds = centres[:, :1024]
    frames = approach_frames(torch.tensor([0.0, 0.3, 1.0], device=options.device).expand_as(seeds))
    parts: dict[str, Callable[[], object]] = {
        "farthest points, 2048": lambda: farthest_points(cloud, 2048),
        "ball query, 2048 x 64": lambda: ball_query(centres, cloud, 0.04, 64),
        "cylinder query, 1024 x 4 x 64": lambda: cylinder_query(
            seeds, frames, cloud, CYLINDER_RADIUS, CYLINDER_LOW, DEPTHS, CYLINDER_SAMPLES
        ),
        "whole forward pass": lambda: model(cloud),
        "forward pass and decoding": lambda: decode(model(cloud)),
    }
    sys.stdout.write(f"{options.points} points, {options.device}, {options.threads} threads, {options.repeats} repeats\n")
    with torch.inference_mode():
        for name, action in parts.items():
            median, least = seconds(action, options.repeats, options.device)
            sys.stdout.write(f"{name:32s} median {median:7.3f} s   least {least:7.3f} s\n")


if __name__ == "__main__":
    main()
