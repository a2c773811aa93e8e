"""The parts of ``srcli pretrain encoder``: rendered scenes, facts and captions, loss, loop, validation."""
