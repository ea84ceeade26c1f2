"""torchrun with a range of machines, `--nnodes 1:4`: a run goes on with those that are left, and as large batches.

When a machine is lost, torchrun ends the ranks of the others and starts them again. `--num_nodes` stays what it was, so
that `--resume auto` finds the run; how many machines there are now, torchrun says in a variable.
"""

import os
from dataclasses import replace

from lightning.pytorch import LightningDataModule

from basics.amounts import amount
from basics.errors import InputError
from datamodules.batch_module import BatchModule
from harness.processes.ranks import is_rank_zero
from harness.training.flags import FitFlags


def for_present_machines(flags: FitFlags, data: LightningDataModule) -> FitFlags:
    """The flags for as many machines as torchrun has, and `data` with as many samples in each step as by the flags.

    Raises:
        InputError: a step's batch cannot be divided among these machines.
    """
    machines = int(os.environ.get("GROUP_WORLD_SIZE", 0)) if "TORCHELASTIC_RUN_ID" in os.environ else 0
    if flags.num_nodes == 1 or machines in (0, flags.num_nodes):
        return flags
    found = f"torchrun has {amount(machines, 'machine')} in place of {flags.num_nodes}"
    if not isinstance(data, BatchModule):
        raise InputError(f"--num_nodes {flags.num_nodes}: {found}, and {type(data).__name__} makes its own batches")
    size, rest = divmod(data.batch_size * flags.num_nodes, machines)
    if rest:
        asked = f"--batch_size {data.batch_size} --num_nodes {flags.num_nodes}"
        raise InputError(f"{asked}: {found}, and {data.batch_size * flags.num_nodes} cannot be divided by {machines}")
    if is_rank_zero():
        print(f"{found}: {size} samples per device, not {data.batch_size}, so that a step has as many", flush=True)
    data.batch_size = size
    return replace(flags, num_nodes=machines)
