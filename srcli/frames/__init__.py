"""Recorded frames: folders of RGB-D views, read, checked and placed so that a method can decide from them."""

from srcli.frames.observation import Observation, Table, Workspace
from srcli.frames.placing import in_cell, placed
from srcli.frames.reading import FORMATS, read_frames, write_frames

__all__ = ["FORMATS", "Observation", "Table", "Workspace", "in_cell", "placed", "read_frames", "write_frames"]
