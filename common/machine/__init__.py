"""The machine: devices, memory, and access to the hub."""
