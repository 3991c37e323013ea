"""The template of a run that trains: seeds, loop, callbacks, checkpoints."""
