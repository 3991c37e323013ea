"""The machine: devices, memory, and the way to the hub."""
