"""The parts of ``srcli pretrain graspnet``: labelled scenes of the simulation, and the loss."""
