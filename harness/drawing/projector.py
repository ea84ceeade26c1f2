"""TensorBoard's projector: images as points in a network's feature space."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

IN_PROJECTOR = 2000  # points that a browser shows well
SPRITE = 64  # side of an image in pixels, at most; browsers take no sprite sheet beyond 8,192


def add_to_projector(
    writer: "SummaryWriter", features: Tensor, names: Sequence[str], images: Tensor, tag: str, step: int = 0
) -> None:
    """Shows the first images, (N, C, H, W) in 0..1, by their features, (N, D), with the names of their classes.

    The features are scaled to length 1, so that the distance shown is the cosine distance. Images with one channel
    become dark on white.
    """
    features, names, images = features[:IN_PROJECTOR], names[:IN_PROJECTOR], images[:IN_PROJECTOR]
    side = max(images.shape[-2:])
    bottom, right = (side - length for length in images.shape[-2:])
    images = F.pad(images, (0, right, 0, bottom))  # the projector only takes squares
    if side > SPRITE:
        images = F.interpolate(images, size=(SPRITE, SPRITE), mode="area")
    sprites = 1 - images if images.shape[1] == 1 else images
    with redirect_stdout(StringIO()):  # it prints a warning where a resumed run replaces the files
        writer.add_embedding(F.normalize(features), list(names), sprites, global_step=step, tag=tag)
