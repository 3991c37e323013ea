"""What every executor of runs has to hold."""
