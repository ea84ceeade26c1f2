"""The flags of a cross-validation."""

from dataclasses import dataclass
from typing import Any

from harness.training.flags import FitFlags


@dataclass(frozen=True, kw_only=True)
class FoldFlags(FitFlags):
    """Which folds to train, how often, and how many at a time.

    Args:
        net: name of the network.
        val_size: size of the validation split of each fold's training samples, as a share or a number; 0: none.
        folds: parts of the training files, each held out once, from a model that is trained on the others; 0: train
            once.
        fold_seed: seed of the folds, those of scikit-learn's KFold(folds, shuffle=True, random_state=fold_seed), or
            of its StratifiedKFold for classes.
        seeds: how often each fold is trained, each time from other initial weights; the predictions are averaged.
        jobs: folds to train at a time, each in its own process; 0: as many as there are cores, or accelerators.
        engine: what trains the folds: local, processes of this machine; slurm, a job array; or ray, a Ray cluster.
        engine_args: what the jobs of a cluster get, such as --engine_args.gpus 1; see docs/multi_machine.md.
        seed: seed of the validation split and, in folds of the first training, of initial weights, order of batches
            and all random draws.
        resume: run directory, or checkpoint file, to continue in place; auto: the newest unfinished run with these
            flags. Folds that have finished are kept.
    """

    net: str = ""
    val_size: float | None = 0.1
    folds: int = 0
    fold_seed: int = 0
    seeds: int = 1
    jobs: int = 0
    engine: str = "local"
    engine_args: dict[str, Any] | None = None
    seed: int = 0
    resume: str | None = None
