"""Where runs are made: in this process, or in worker processes of this machine."""
