"""The process: signals, child processes, the console, threads."""
