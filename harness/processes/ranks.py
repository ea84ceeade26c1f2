"""Which of a run's processes this one is."""

import os


def is_rank_zero() -> bool:
    """Whether this process is the one that writes, judging by the variables that launchers set."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
    return all(os.environ.get(rank, "0").strip() in ("", "0") for rank in ranks)
