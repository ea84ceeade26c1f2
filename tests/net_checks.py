"""Helpers for the tests of networks: counting weights, random state, copying from torchvision's nets, gradients."""

from typing import Any

import torch
from torch import Tensor, nn

from lit_modules.nets import build_net

SHAPES = [(3, 32, 32), (1, 28, 28)]


def blank(name: str, *input_shape: int, **options: Any) -> nn.Module:
    """The network for ten classes without the weights, which for large ones take longest."""
    with torch.device("meta"):
        return build_net(name, input_shape, 10, **options)


def count(name: str, *input_shape: int, **options: Any) -> int:
    return sum(p.numel() for p in blank(name, *input_shape, **options).parameters())


def randomise_norms(net: nn.Module) -> None:
    """Gives each BatchNorm its own scales, shifts and running statistics: fresh ones do nothing, and all look alike."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                if values is not None:  # speednet's norm has no scale
                    values.data.uniform_(0.5, 1.5)
            for values in (module.bias.data, module.running_mean):
                values.normal_(0, 0.5)


def share_state(source: nn.Module, target: nn.Module) -> None:
    """Gives `target` all weights and buffers in their order; the two networks' names for them may differ."""
    names, values = target.state_dict().keys(), source.state_dict().values()
    target.load_state_dict(dict(zip(names, values, strict=True)), assign=True)


@torch.no_grad()
def assert_same_outputs(net: nn.Module, peer: nn.Module, *shape: int) -> None:
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    expected = peer.eval()(x)
    assert expected.std() > 0.01  # else any network would do
    torch.testing.assert_close(net.eval()(x), expected, rtol=1e-5, atol=1e-5)


def assert_trains(net: nn.Module, shape: tuple[int, ...], num_outputs: int, batch_size: int = 2) -> None:
    """One finite logit for each output and image, and a gradient for each parameter."""
    logits: Tensor = net.train()(torch.randn(batch_size, *shape))
    assert logits.shape == (batch_size, num_outputs)
    logits.logsumexp(dim=1).sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
