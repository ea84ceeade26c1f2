"""The names of the files in a run's directory."""

CONFIG = "config.yaml"  # its flags, from the first step on
METRICS = "metrics.json"  # once it has ended
CLAIM = ".lock"  # held while it trains; the system lets go of it however the process ends
CHECKPOINTS = "checkpoints"  # the folder of these
BEST, LAST = "best.ckpt", "last.ckpt"
PREVIOUS = {LAST: "last-1.ckpt"}  # what becomes of a checkpoint that is replaced
RESUMABLE = (LAST, *PREVIOUS.values(), BEST)  # a kill may come before the first one is written
FOLDS = "fold*"  # of a cross-validated run, a folder for each of its trainings
PREDICTIONS = "predictions.npz"  # of a fold that has ended, in its folder
