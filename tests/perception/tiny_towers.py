"""A tiny random ViT by the names that tests give open_clip, and what is said of its images."""

from __future__ import annotations

import re

import torch

from srcli.config.encoder import EncoderConfig

TINY = "ViT-srcli-tiny-quickgelu"
PLAIN = "ViT-srcli-tiny"
OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
ODD = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def config(path, **changes):
    said = {"mean": OPENAI[0], "std": OPENAI[1]} if "tag" not in changes and "mean" not in changes else {}
    values = {"name": TINY, "pretrained": str(path), "tiles": [[2, 3]], "precision": "fp32", **said, **changes}
    return EncoderConfig(**values)


def colours(encoder):
    """Mean and standard deviation by which an encoder's identity names its images."""
    numbers = re.search(r"mean (\S+), std (\S+)$", encoder.identity.image)
    return tuple(tuple(float(v) for v in part.split(",")) for part in numbers.groups())


def slow_reference(visual, image):
    """MaskCLIP by loops: every patch through the blocks of one tile, then value and output projection of the last block."""
    patch, (rows, columns) = visual.patch_size[0], visual.grid_size
    tokens = [visual.class_embedding]
    for r in range(rows):
        for c in range(columns):
            cut = image[:, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch]
            tokens.append(torch.einsum("ocij,cij->o", visual.conv1.weight, cut))
    x = visual.ln_pre(torch.stack(tokens) + visual.positional_embedding)[None]
    for block in list(visual.transformer.resblocks)[:-1]:
        x = block(x)
    last, out = visual.transformer.resblocks[-1], []
    width = x.shape[-1]
    for token in x[0, 1:]:
        normed = last.ln_1(token)
        value = last.attn.in_proj_weight[2 * width : 3 * width] @ normed + last.attn.in_proj_bias[2 * width : 3 * width]
        projected = last.attn.out_proj.weight @ value + last.attn.out_proj.bias
        feature = visual.ln_post(projected) @ visual.proj
        out.append(feature / feature.norm())
    return torch.stack(out).reshape(rows, columns, -1)
