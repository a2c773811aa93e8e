"""What a dry run of a study says of its policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srcli.params import Params
    from srcli.studies.policy_store import Arm

SHIPPED = "take the policies shipped with the package"


def policies_in_words(
    arms: Sequence[Arm], values: Params, seeds: Sequence[int], packaged: bool, free: bool, no_train: bool
) -> tuple[list[str], tuple[Arm, ...]]:
    """Where the policies would come from, in words, none where nothing learns; and the arms that would be run.

    Args:
        free: neither features nor policies are there.
    """
    from srcli.studies import policy_store as store

    if packaged:
        found = store.packaged_policies(arms, values, lambda: store.encoder_identity(values))
        return [SHIPPED, *found.left_out.values()], tuple(arm for arm in arms if arm.name not in found.left_out)
    learned = "; ".join(dict.fromkeys(arm.title for arm in arms if arm.learns))
    if not learned:
        return [], tuple(arms)
    if free and store.shipped_policies(arms, values):
        return [SHIPPED], tuple(arms)
    if no_train:
        return ["take the policies that are trained already"], tuple(arms)
    return [f"train what is missing of: {learned}; with seeds {', '.join(map(str, seeds))}"], tuple(arms)
