"""`--strategy fsdp`: weights, gradients and optimizer states are split into parts, one on each device (ZeRO 3).

Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models". We use torch's
`fully_shard`, which also runs on CPUs; Lightning's own FSDPStrategy wraps an older one that does not. Each checkpoint
is one plain file, as it is without fsdp.
"""

from functools import partial

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.optim import SGD

from basics.errors import InputError
from basics.lightning_internals import shard_over_all


def fully_sharded(**options: float) -> "FullyShardedStrategy":
    """The strategy; refuses options of the run that it does not work with, given by name and value.

    Raises:
        InputError: one of them is on.
    """
    for name, value in options.items():
        if value:
            raise InputError(f"--strategy fsdp: does not work with --{name}, which needs whole weights on each device")
    return FullyShardedStrategy()


def check_sharded(model: LightningModule) -> None:
    """Raises InputError if there is no `net`, or weights beside it, whose gradients nothing would sum up."""
    net = getattr(model, "net", None)
    if not isinstance(net, nn.Module):
        raise InputError(f"--strategy fsdp: shards what a module calls `net`, and {type(model).__name__} has none")
    if {*model.parameters()} - {*net.parameters()}:
        raise InputError("--strategy fsdp: shards the network alone, and this --loss has weights beside it")


class FullyShardedStrategy(ModelParallelStrategy):
    """Shards the module's `net` over all devices of all machines; everything else in it is on each device."""

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False, tensor_parallel_size=1)

    def connect(self, model: LightningModule) -> None:
        super().connect(model)
        # One of Lightning's hooks, which other strategies do not need.
        model.configure_model = partial(shard, model)  # type: ignore[method-assign]  # on purpose

    def setup_optimizers(self, trainer: Trainer) -> None:
        super().setup_optimizers(trainer)
        for optimizer in self.optimizers:
            if isinstance(optimizer, SGD) and not any(group["momentum"] for group in optimizer.param_groups):
                # Lightning looks for its state when it saves a checkpoint.
                raise InputError("--strategy fsdp: needs an optimizer with a state; give sgd a --momentum")

    def setup_environment(self) -> None:
        shard_over_all(self)
        super().setup_environment()


def shard(model: LightningModule) -> None:
    """Shards each child of the net that has weights, and then the rest of the net."""
    net = model.net
    assert model.device_mesh is not None and isinstance(net, nn.Module)  # set by the strategy, and by our modules
    mesh = model.device_mesh["data_parallel"]
    if not isinstance(net, FSDPModule):
        for layer in net.children():
            _shard_layer(layer, mesh)
        fully_shard(net, mesh=mesh)


def _shard_layer(layer: nn.Module, mesh: DeviceMesh) -> None:
    if next(layer.parameters(), None) is not None and not isinstance(layer, nn.ModuleList | nn.ModuleDict):
        fully_shard(layer, mesh=mesh)
