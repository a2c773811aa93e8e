"""The shape of the two-finger gripper, as the sampler's collision check sees it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gripper:
    """Boxes in the tool frame (x closing, y across the pads, z approach), origin between the fingertips; metres.

    Attributes:
        max_opening: largest distance between the pads.
        finger_thickness: extent of a finger along x.
        finger_width: extent of a finger (and pad) along y.
        finger_length: extent of a finger along z; above it is the hand.
        hand_x, hand_y: extents of the hand's box.
        tool_length: from the arm's flange to the fingertips.
    """

    max_opening: float = 0.085
    finger_thickness: float = 0.012
    finger_width: float = 0.022
    finger_length: float = 0.060
    hand_x: float = 0.100
    hand_y: float = 0.060
    tool_length: float = 0.155


GRIPPER = Gripper()
