"""Template of a run that trains: seeds, loop, callbacks, checkpoints."""
