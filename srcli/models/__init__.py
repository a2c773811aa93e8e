"""The scoring network: attention, DSSA, 1-Align, 2-Align. Torch only; no file I/O and no simulator."""
