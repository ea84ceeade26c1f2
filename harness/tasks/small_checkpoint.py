"""A trained model's checkpoint in half precision, without what only training needs."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from harness.runs.checkpoints import Checkpoint

# What predict.py, evaluate.py, export.py, finetune.py and Lightning's load_from_checkpoint read.
NEEDED = (
    *("pytorch-lightning_version", "hparams_name", "hyper_parameters", "state_dict", "epoch", "global_step"),
    *("datamodule_hparams_name", "datamodule_hyper_parameters", "precision"),
)


def write_small(read: Checkpoint, path: Path) -> None:
    """Writes the checkpoint with its weights in float16, and without the states of optimizer, loops and callbacks."""
    content = {name: read.content[name] for name in NEEDED if name in read.content}
    content["state_dict"] = _halved(read.content["state_dict"])
    torch.save(content, path)


def _halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: its.half() if isinstance(its, Tensor) and its.is_floating_point() else its
        for name, its in weights.items()
    }
