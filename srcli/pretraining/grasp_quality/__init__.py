"""The parts of ``srcli pretrain grasp``: simulated outcomes, and the network fitted to them."""
