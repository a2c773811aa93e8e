"""The parts of ``srcli probe``: each foundation measured alone, in simulated scenes whose truth is known."""
