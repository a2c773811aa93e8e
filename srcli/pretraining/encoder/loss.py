"""Region-text contrast with several positives on both sides.

A sentence's positives are all regions and patches of the batch of which its concept is true, a region's positives all sentences
that are true of it; the target of each softmax is uniform over the positives (supervised contrast, Khosla et al. 2020, with the
mean outside the logarithm). Table patches are negatives of every sentence.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def multi_positive(logits: Tensor, positive: Tensor) -> Tensor:
    """Cross-entropy of each row's softmax with a uniform target over its positives; rows without a positive do not count.

    Args:
        logits: (R, C).
        positive: (R, C) bool.
    """
    target = positive.float()
    count = target.sum(dim=1)
    rows = count > 0
    if not bool(rows.any()):
        return logits.sum() * 0.0
    log_p = functional.log_softmax(logits[rows], dim=1)
    return -((log_p * target[rows]).sum(dim=1) / count[rows]).mean()


def region_text_loss(
    scale: Tensor,
    texts: Tensor,
    names: Tensor,
    regions: Tensor,
    patches: Tensor,
    table: Tensor,
    text_truth: Tensor,
    name_truth: Tensor,
    owner: Tensor,
) -> Tensor:
    """The training loss.

    Args:
        scale: logit scale (inverse temperature).
        texts: (T, D) sentences of this step; names: (C, D) all names as bare phrases.
        regions: (R, D) mask-pooled objects; patches: (P, D) single cells on objects; table: (Q, D) cells on nothing. Unit length.
        text_truth: (T, R) whether a sentence is true of a region; name_truth: (C, R) the same for names.
        owner: (P,) region of each patch.
    """
    patch_truth = text_truth[:, owner]
    region_logits = scale * texts @ regions.T
    patch_logits = scale * texts @ patches.T
    background = scale * texts @ table.T
    padding = torch.zeros(texts.shape[0], table.shape[0], dtype=torch.bool, device=texts.device)
    to_regions = multi_positive(region_logits, text_truth)
    to_patches = multi_positive(torch.cat([patch_logits, background], 1), torch.cat([patch_truth, padding], 1))
    from_regions = multi_positive(region_logits.T, text_truth.T)
    from_patches = multi_positive(patch_logits.T, patch_truth.T)
    naming = multi_positive(scale * regions @ names.T, name_truth.T)
    naming = naming + multi_positive(scale * patches @ names.T, name_truth[:, owner].T)
    return to_regions + to_patches + 0.5 * (from_regions + from_patches) + 0.5 * naming
