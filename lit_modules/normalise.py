"""The normalisation of a network's input. It belongs to the module, so a checkpoint is all that prediction needs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lit_modules.timm_nets import PREFIX, timm_normalisation

IMAGENET = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # as torchvision's weights were trained


def own_normalisation(net: str) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation, by channel, of the images that a network's pretrained weights are for; None for
    networks that have none.
    """
    if net.startswith(PREFIX):
        return timm_normalisation(net)
    return IMAGENET if net == "imagenet" else None


class Normalise(nn.Module):
    """Subtracts the mean and divides by the standard deviation, per channel, unless that is 0.

    Both are hyperparameters of the module that uses it, so they are not saved a second time in checkpoints.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)  # (C, 1, 1)
        scale = torch.tensor([1 / (each or 1) for each in std])
        self.register_buffer("scale", scale.view(-1, 1, 1), persistent=False)  # (C, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images with values in 0..1, (B, C, H, W) -> (B, C, H, W)."""
        return (images - self.mean) * self.scale
