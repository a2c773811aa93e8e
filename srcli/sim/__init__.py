"""The simulated cell: world, robot, gripper, cameras, sensor noise, motion. The only room that imports pybullet."""

from srcli.sim.cameras import Camera, cameras
from srcli.sim.render import Light, contact_sheet_images
from srcli.sim.world import ROBOT_PIXEL, World
from srcli.types import PICK_SHIFT, PLACE_SHIFT

__all__ = ["PICK_SHIFT", "PLACE_SHIFT", "ROBOT_PIXEL", "Camera", "Light", "World", "cameras", "contact_sheet_images"]
