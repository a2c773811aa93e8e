"""srcli: build, train, measure and explain language-conditioned grasping."""

__version__ = "0.1.0"
