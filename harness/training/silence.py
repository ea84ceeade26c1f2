"""Keeps libraries from saying what nobody needs to hear: our own lines say what is trained, and on what."""

import logging
import warnings

EXPECTED = (  # warnings that are of no use here
    ".*smaller than the logging interval.*",  # epochs with few steps
    ".*exists and is not empty.*",  # checkpoints of a resumed run
    ".*sync_dist=True.*",  # what we log is reduced over the ranks already
    ".*LeafSpec.*",  # Lightning's own use of torch
    ".*all_gather is deprecated.*",  # the same
    ".*torch.jit.script.* is deprecated.*",  # torch's own, when a derivative is differentiated
    ".*callbacks used to create the checkpoint.*",  # weight averaging, which `finish` takes out before the test
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
