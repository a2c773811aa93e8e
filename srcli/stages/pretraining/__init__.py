"""The parts of ``srcli pretrain``: rendered scenes, facts and captions, loss, loop, validation."""
