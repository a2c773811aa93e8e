"""Learning from demonstrations: training set, augmentation, trainer, checkpoints, policy file."""
