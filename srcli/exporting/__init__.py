"""Demonstrations in the formats of neighbouring projects."""
