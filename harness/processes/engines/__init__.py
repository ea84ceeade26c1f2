"""Runs many calls, each in a process of its own: on this machine, by SLURM, or on a Ray cluster."""
