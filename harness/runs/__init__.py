"""The directory of a run: its files, its checkpoints, and how it is resumed."""
