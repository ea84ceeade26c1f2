"""How much of an explanation lies where the evidence is: networks learn to name the colour of a square in noise.

    python benchmarks/grad_cam.py
    python benchmarks/grad_cam.py --nets '[resnet18]' --steps 200

The square takes a seventh of the image. For each network, the table shows the share of its maps' sum that lies in the
square: the mean over new images of a square, and what 95 % of them exceed; and how many have more than half there.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jsonargparse import auto_cli
from torch import Tensor
from torch.nn.functional import cross_entropy

from basics.errors import InputError
from lit_modules import Classifier
from lit_modules.evidence import evidence

SIDE, SQUARE = 32, 12  # pixels
BATCH, IMAGES = 32, 200
FIGURES = "mean", "95 % above", "over a half"
# Small ones of each kind, which learn this in a minute; other nets have the options of their own.
SMALL: dict[str, dict[str, Any]] = {
    "resnet_cifar": {"depth": 8, "widths": [8, 16, 32]},
    "speednet": {"widths": [[16, 16], [32, 32], [64, 64]]},
}


def planted(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, (N, 3, SIDE, SIDE), with a square somewhere, whose colour, red, green or blue, is the class; in class 3
    there is none. Classes, (N,), and the squares' upper left corners, (N, 2).

    Without the last class, "neither red nor green" would be as good as blue, and that is to be seen everywhere.
    """
    images = 0.4 + 0.1 * torch.randn(count, 3, SIDE, SIDE, generator=generator)
    classes = torch.randint(4, (count,), generator=generator)
    corners = torch.randint(SIDE - SQUARE + 1, (count, 2), generator=generator)
    for image, colour, (top, left) in zip(images, classes.tolist(), corners.tolist(), strict=True):
        if colour < 3:
            image[:, top : top + SQUARE, left : left + SQUARE] -= 0.2
            image[colour, top : top + SQUARE, left : left + SQUARE] += 0.7
    return images.clamp(0, 1), classes, corners


def trained(net: str, steps: int, generator: torch.Generator) -> Classifier:
    """A network that has seen so many batches of planted squares."""
    model = Classifier(net, (3, SIDE, SIDE), 4, (0.4,) * 3, (0.2,) * 3, SMALL.get(net))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    for _ in range(steps):
        images, classes, _ = planted(BATCH, generator)
        optimizer.zero_grad()
        cross_entropy(model(images), classes).backward()
        optimizer.step()
    return model.eval()


def shares_in_square(maps: Tensor, corners: Tensor) -> Tensor:
    """Each map's share of its sum that lies in the square, (N,); 0 for a map of zeros."""
    rows = torch.arange(SIDE)
    top, left = corners[:, :1], corners[:, 1:]
    high, wide = ((rows >= start) & (rows < start + SQUARE) for start in (top, left))  # (N, SIDE) each
    inside = (maps * (high[:, :, None] & wide[:, None])).sum((1, 2))
    return inside / maps.sum((1, 2)).clamp(min=torch.finfo(maps.dtype).tiny)


def main(nets: Sequence[str] = ("cnn", "lenet5", "resnet_cifar", "speednet"), steps: int = 60) -> None:
    """Trains and prints the table.

    Args:
        nets: networks with convolutions.
        steps: batches of 32 images that each is trained on.
    """
    columns = [f"{name}: {figure}" for name in ("Grad-CAM", "occlusion") for figure in FIGURES]
    print("| " + " | ".join(["network", "accuracy", *columns]) + " |\n| --- |" + " ---: |" * (1 + len(columns)))
    for net in nets:
        torch.manual_seed(0)
        generator = torch.Generator().manual_seed(1)
        model = trained(net, steps, generator)
        images, classes, corners = planted(IMAGES, generator)
        accuracy = (model(images).argmax(1) == classes).float().mean()
        has = classes < 3
        found = evidence(model, images[has], classes[has])
        if found is None:
            raise InputError(f"nets: {net} makes no feature maps by convolutions")
        figures = []
        for maps in found:
            shares = shares_in_square(maps, corners[has])
            figures += [shares.mean(), shares.quantile(0.05), (shares > 0.5).float().mean()]
        print(f"| {net} | {accuracy:.1%} | " + " | ".join(f"{figure:.0%}" for figure in figures) + " |", flush=True)


if __name__ == "__main__":
    auto_cli(main)
