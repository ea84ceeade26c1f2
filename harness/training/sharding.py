"""`--strategy fsdp`: weights, gradients and optimizer states are cut into parts, one on each device (ZeRO 3).

Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter models". It is torch's
`fully_shard`, which runs on CPUs too; Lightning's own FSDPStrategy wraps an older one that does not. Each checkpoint
is one plain file, as without it.
"""

from functools import partial

from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from basics.errors import InputError
from basics.lightning_internals import shard_over_all


def fully_sharded(**options: float) -> "FullyShardedStrategy":
    """The strategy; refuses options of a run that it does not go with, whose values are given.

    Raises:
        InputError: one of them is on.
    """
    for name, value in options.items():
        if value:
            raise InputError(f"--strategy fsdp: does not go with --{name}, which needs whole weights on each device")
    return FullyShardedStrategy()


class FullyShardedStrategy(ModelParallelStrategy):
    """Shards the module's `net` over all devices of all machines; what else it has is on each."""

    def __init__(self) -> None:
        super().__init__(save_distributed_checkpoint=False, tensor_parallel_size=1)

    def connect(self, model: LightningModule) -> None:
        super().connect(model)
        # A hook of Lightning's, which other strategies do not need.
        model.configure_model = partial(shard, model)  # type: ignore[method-assign]  # on purpose

    def setup_environment(self) -> None:
        shard_over_all(self)
        super().setup_environment()


def shard(model: LightningModule) -> None:
    """Cuts the net into parts, each layer that has parts itself and then the rest."""
    net = model.net
    assert model.device_mesh is not None and isinstance(net, nn.Module)  # the one is the strategy's, the other ours
    mesh = model.device_mesh["data_parallel"]
    if not isinstance(net, FSDPModule):
        for layer in net.children():
            _shard_layer(layer, mesh)
        fully_shard(net, mesh=mesh)
        if hasattr(net, "members"):  # an ensemble's, which training calls in place of `forward`
            register_fsdp_forward_method(net, "members")


def _shard_layer(layer: nn.Module, mesh: DeviceMesh) -> None:
    if next(layer.parameters(), None) is not None and not isinstance(layer, nn.ModuleList | nn.ModuleDict):
        fully_shard(layer, mesh=mesh)
