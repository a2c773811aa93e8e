"""SR, SR-A and BASE: one network whose stages are switches."""
