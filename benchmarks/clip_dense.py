"""Measures the dense features of a CLIP vision transformer by tile grid and precision, against a plain loop over tiles.

    python benchmarks/clip_dense.py --model ViT-L-14-quickgelu --grids 1x1 2x3 3x4 --threads 1 --repeats 1

Weights do not change the time: they are random, written to a file and loaded as a user's file is. Both ways do the same work in
the same precision: they resize the same three views, cut the same tiles, and bring each through the same blocks. The loop does so
one view and one tile after the other. Rows for a GPU follow where there is one. Take as many threads as there are free cores:
threads that share a core wait for each other.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srcli.config.encoder import EncoderConfig
from srcli.perception.encoders.compat import import_open_clip
from srcli.perception.encoders.loading import choose_precision, has_bf16, load_encoder
from srcli.perception.encoders.vit import cut_tiles, join_tiles, value_features
from srcli.perception.encoders.weights import Source, named_weights
from srcli.types import U8

VIEWS, HEIGHT, WIDTH = 3, 360, 640
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def timed(action: Callable[[], Any], repeats: int, device: str) -> tuple[float, Any]:
    """Median wall time in seconds, and the last result."""
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = action()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def write_weights(model: str, file: Path) -> None:
    """Random weights of a model as fp16: normals of the usual spread, as zeros or subnormals could be faster or slower."""
    from safetensors.torch import save_file

    open_clip = import_open_clip()
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in open_clip.CLIP(**open_clip.get_model_config(model)).state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    draw = {
        key: torch.randn(shape, generator=generator) * (0.02 if len(shape) < 2 else shape[1:].numel() ** -0.5)
        for key, shape in shapes.items()
    }
    save_file({key: value.half() + ("ln_" in key and key.endswith("weight")) for key, value in draw.items()}, file)


def plain_loop(visual: Any, rgb: U8, grid: tuple[int, int], source: Source, dtype: torch.dtype, device: str) -> Tensor:
    """(M, rows h, columns w, D): view by view and tile by tile, with the preparation of :meth:`VitEncoder.dense`."""
    mean, std = (torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1) for values in (source.mean, source.std))
    features = []
    with torch.inference_mode():
        for view in rgb:
            image = (torch.from_numpy(view).permute(2, 0, 1)[None].float() / 255.0 - mean) / std
            for tile in cut_tiles(image, grid, int(visual.image_size[0]), int(visual.patch_size[0])):
                features.append(value_features(visual, tile[None].to(device, dtype)).cpu())
        return join_tiles(torch.cat(features), grid)


def precisions(device: str) -> list[str]:
    """Those worth a row on a device, slowest first."""
    fast = choose_precision("auto", device, has_bf16(device))
    return list(dict.fromkeys(["fp32", fast] if device == "cpu" else ["fp32", fast, "fp16"]))


def measure(config: EncoderConfig, rgb: U8, repeats: int, device: str) -> str:
    """One line of the table."""
    (grid,), precision = config.tiles, config.precision
    source = named_weights(import_open_clip(), config)
    encoder = load_encoder(config, device)
    visual = encoder._model.visual  # type: ignore[attr-defined]
    encoder.dense(rgb[:1])  # what a first call sets up does not count
    loop, looped = timed(lambda: plain_loop(visual, rgb, grid, source, DTYPES[precision], device), repeats, device)
    dense, joined = timed(lambda: encoder.dense(rgb).values, repeats, device)
    worst = float(np.abs(looped.numpy() - joined).max())
    cells = f"{grid[0]}x{grid[1]}"
    return f"{device:7s} {precision:10s} {cells:5s} {loop:8.2f} {dense:8.2f} {loop / dense:10.2f}x {worst:11.1e}\n"


def main() -> None:
    """Print one line per device, precision and grid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-L-14-quickgelu")
    parser.add_argument("--grids", nargs="+", default=["1x1", "2x3", "3x4"], help="tiles per view, ROWSxCOLUMNS")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rgb = np.random.default_rng(0).integers(0, 256, (VIEWS, HEIGHT, WIDTH, 3), dtype=np.uint8)
    sys.stdout.write(f"{options.model}, {VIEWS} views of {WIDTH} x {HEIGHT}, CPU threads: {options.threads}, seconds\n")
    sys.stdout.write(
        f"{'device':7s} {'arithmetic':10s} {'grid':5s} {'loop':>8s} {'dense':>8s} {'loop/dense':>11s} {'difference':>11s}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        write_weights(options.model, file)
        for device in ["cpu"] + (["cuda"] if torch.cuda.is_available() else []):
            for precision in precisions(device):
                for text in options.grids:
                    rows, columns = (int(part) for part in text.split("x"))
                    values = {"name": options.model, "pretrained": str(file), "tiles": ((rows, columns),), "precision": precision}
                    values["quickgelu"] = options.model.endswith("-quickgelu")
                    # These weights are of no tag: any colours do.
                    half = (0.5, 0.5, 0.5)
                    line = measure(EncoderConfig(**values, mean=half, std=half), rgb, options.repeats, device)
                    sys.stdout.write(line)
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
