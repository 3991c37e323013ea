"""The process itself: signals, child processes, the console, threads."""
