"""A vision transformer for small images, after Dosovitskiy et al. 2021, "An image is worth 16x16 words".

Differences from the paper: patches of 4 x 4 pixels; as in Beyer, Zhai and Kolesnikov 2022, "Better plain ViT baselines
for ImageNet-1k", fixed positions of sines and cosines, and the mean of all patches in place of a class token. The
defaults have the width and depth of ViT-Ti (Touvron et al. 2021, "DeiT"), 5.4 M parameters. Transformers learn what
convolutions have built in, so from few images they learn less.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basics.errors import InputError

__all__ = ["ViT"]

PERIOD = 10_000  # of the slowest wave, in patches, over 2 pi, as in Vaswani et al. 2017


class Attention(nn.Module):
    """Each patch takes from the others what its query finds in their keys; in `heads` parts."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, width / heads)
            for part in self.qkv(x).chunk(3, dim=2)
        )
        x = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)  # (B, N, width)
        return self.output(x)


class Block(nn.Module):
    """Attention, then an MLP on each patch alone; both behind a LayerNorm, and added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads), nn.Dropout(dropout))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)  # (B, N, width)
        return x + self.mlp(x)  # (B, N, width)


class ViT(nn.Module):
    """Patches of `patch` x `patch` pixels, `depth` blocks, and one linear layer.

    Args:
        width: numbers for each patch; a multiple of 4 and of `heads`.

    Raises:
        InputError: the image is not made of whole patches, or the width is no such multiple.
    """

    head = "classifier"

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        patch: int = 4,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, height, breadth = input_shape
        if patch < 1 or height % patch or breadth % patch:
            raise InputError(f"net_args.patch {patch}: images of {height} x {breadth} are not made of whole patches")
        if heads < 1 or width < 4 or width % 4 or width % heads:
            raise InputError(f"net_args.width {width}: must be a multiple of 4, and of the heads, {heads}")
        self.patches = nn.Conv2d(channels, width, kernel_size=patch, stride=patch)
        self.register_buffer("positions", waves(height // patch, breadth // patch, width), persistent=False)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_outputs)
        self.apply(_start)

    positions: Tensor

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, N, width)
        x = self.blocks(x + self.positions)  # (B, N, width)
        return self.classifier(self.norm(x).mean(1))  # (B, num_outputs)


def waves(rows: int, columns: int, width: int) -> Tensor:
    """Sines and cosines of each patch's row and column, a quarter of `width` each, (rows * columns, width)."""
    rates = PERIOD ** -(torch.arange(width // 4) / max(1, width // 4 - 1))
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [place.flatten()[:, None] * rates for place in (x, y)]  # (rows * columns, width / 4) each
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=math.sqrt(1 / module.weight[0].numel()))
