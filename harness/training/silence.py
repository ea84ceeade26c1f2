"""Keeps libraries from saying what nobody needs to hear: our own lines say what is trained, and on what."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch import LightningModule

from lit_modules.stages import Stages

OF_ONE_RANK = "sync_dist=True"  # in Lightning's warning that a figure logged is rank zero's alone
OUR_SPEED = r".*self.log\('train/(seconds|samples_per_second)'.*"  # which is of all ranks, whatever the module
EXPECTED = (  # warnings that are of no use here
    ".*The `srun` command is available.*",  # on a cluster's login node, where one process is what was asked for
    ".*smaller than the logging interval.*",  # epochs with few steps
    ".*exists and is not empty.*",  # checkpoints of a resumed run
    f".*{OF_ONE_RANK}.*",  # what our modules log is reduced over the ranks already
    ".*LeafSpec.*",  # Lightning's own use of torch
    ".*all_gather is deprecated.*",  # the same
    ".*torch.jit.script.* is deprecated.*",  # torch's own, when a derivative is differentiated
    ".*callbacks used to create the checkpoint.*",  # weight averaging, which stands aside in evaluation
    ".*Total length of `.*` across ranks is zero.*",  # a training without validation
    ".*recommended to use `Trainer\\(devices=1, num_nodes=1\\)`.*",  # our loaders count each sample once on any number
)


def silence_libraries() -> None:
    """To be called once Lightning is imported, which sets the levels of its loggers."""
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)  # its tips and device lists
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # its remarks on a resumed run, whose curves we read
    for message in EXPECTED:
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def hearing_of_ranks(model: LightningModule) -> Iterator[None]:
    """Lets Lightning say, once for each name, what a module that is not ours logs without reducing it over the ranks.

    The figures, and the choice of the best epoch, are then those of rank zero's samples.
    """
    with warnings.catch_warnings():
        if not isinstance(model, Stages):
            warnings.filterwarnings("default", message=f".*{OF_ONE_RANK}.*")
            warnings.filterwarnings("ignore", message=OUR_SPEED)
        yield
