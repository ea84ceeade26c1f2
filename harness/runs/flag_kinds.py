"""Kinds of flags, by what depends on them: figures, the run's other files, or nothing that stays.

A flag in none of the sets is part of a configuration: other values make other weights or figures.
"""

from collections.abc import Mapping
from typing import Any

# How a run is launched and watched. `data_dir` is not one of them: own_images.py reads its images from there.
CHANGE_NOTHING = {
    "resume", "run_dir", "jobs", "engine", "engine_args", "stall_timeout", "enable_progress_bar", "capture",
}  # fmt: skip
# What a run logs, draws and saves beside its figures, at each moment of the training as it is then.
WRITTEN = {
    "checkpoint_epochs", "checkpoint_every", "checkpoint_minutes", "loggers", "log_to", "log_every_n_steps",
    "log_gradients", "histograms", "pictures", "pictures_every", "enable_model_summary", "num_sanity_val_steps",
    "profiler", "detect_anomaly",
}  # fmt: skip
# Where the data are. That they are still the same is checked by what is in them.
PLACES_OF_DATA = {"data_dir", "csv", "test_csv", "labels"}
# May have other values when a run is resumed: where it runs, how long, and what it writes. They include the batch size
# because more devices take smaller parts of the same batch; `check_position` keeps the total. They do not include
# `deterministic` and `benchmark`: with other kernels the run would not end as if it had never been interrupted.
MAY_CHANGE = CHANGE_NOTHING | WRITTEN | PLACES_OF_DATA | {
    "accelerator", "devices", "num_nodes", "strategy", "sync_batchnorm", "batch_size", "accumulate_grad_batches",
    "compile", "doctor", "fast_dev_run", "find_lr", "on_nonfinite",
    "max_epochs", "min_epochs", "max_steps", "min_steps", "max_time", "early_stopping",
}  # fmt: skip
# Tell no configurations apart, since no figure changes with them. `curves_by` has to stay at a resume, but only for the
# curves' sake.
ASIDE = CHANGE_NOTHING | WRITTEN | {"started_by", "doctor", "curves_by", "default_root_dir", "barebones"}
# Not in a run's name: these, and what stands there already, such as the network; a refit names its own run.
UNTOLD = ASIDE | {"net", "name", "data_dir", "refit", "fast_dev_run", "accelerator", "plugins"}
# No columns of TensorBoard's HPARAMS: these, and places of files.
NO_COLUMNS = ASIDE | {
    "data_dir", "plugins", "model_registry", "callbacks", "own_callbacks", "logger", "find_lr", "fast_dev_run",
    "inference_mode", "enable_checkpointing", "enable_autolog_hparams",
}  # fmt: skip

USUAL_FOLDS = 5  # of a table, if nobody says otherwise


def needs_one_training(flags: Mapping[str, Any]) -> str:
    """The flag of table.py because of which it trains once, in place of folds that nobody asked for; "" if none is."""
    asked = {
        **{f"--{name}": flags.get(name) for name in ("refit", "find_lr", "doctor", "fast_dev_run")},
        f"--time {flags.get('time')}": flags.get("time"),
        f"--devices {flags.get('devices')}": flags.get("devices", "auto") not in ("auto", 1, "1"),
    }
    return next((name for name, given in asked.items() if given), "") if flags.get("folds") == USUAL_FOLDS else ""
