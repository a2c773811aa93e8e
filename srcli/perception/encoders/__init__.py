"""Image-text encoders behind one interface: dense patch features and sentences in one joint space."""

from srcli.perception.encoders.loading import load_encoder as load_encoder
