"""The names of the files in a run's directory."""

CONFIG = "config.yaml"
METRICS = "metrics.json"  # once it has ended
CLAIM = ".lock"  # held while it trains; the system lets go of it however the process ends
PREVIOUS = {"last.ckpt": "last-1.ckpt"}  # what becomes of a checkpoint that is replaced
RESUMABLE = ("last.ckpt", *PREVIOUS.values(), "best.ckpt")  # a kill may come before the first one is written
