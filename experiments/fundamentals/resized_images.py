"""What pooling, upsampling and ReLU do to a photograph."""

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from experiments.fundamentals.image_filters import KERNELS, LUMA, filtered, weighted_sum
from harness.drawing.figures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def resized(image: Tensor, factor: int) -> dict[str, Tensor]:
    """The image pooled, and the pooled one enlarged again to (C, H, W), by what was done; `factor` divides H and W."""
    batch = image.unsqueeze(0)  # (1, C, H, W)
    size = image.shape[1:]
    largest, mean = F.max_pool2d(batch, factor), F.avg_pool2d(batch, factor)  # (1, C, H / factor, W / factor)
    answers = {
        f"max pooling, {factor} x {factor}": largest,
        f"average pooling, {factor} x {factor}": mean,
        "the means upsampled: nearest": F.interpolate(mean, size, mode="nearest"),
        "upsampled: bilinear": F.interpolate(mean, size, mode="bilinear", align_corners=False),
    }
    return {name: answer[0] for name, answer in answers.items()}


def draw_resized(image: Tensor, factor: int = 8) -> "Figure":
    """The image, (C, H, W) in 0..1, pooled and upsampled, and a kernel's answer before and after ReLU."""
    figure, axes = new_figure(2, 4, size=(9, 5))
    height, width = (side // factor * factor for side in image.shape[1:])
    image = image[:, :height, :width]
    pictures = {"the photograph": image, **resized(image, factor)}
    for place, (name, picture) in zip(axes.flat, pictures.items(), strict=False):
        place.imshow(picture.permute(1, 2, 0), vmin=0, vmax=1, interpolation="nearest")
        place.set(title=name, xticks=[], yticks=[], xlabel=" x ".join(map(str, picture.shape[1:])))
    answer = filtered(weighted_sum(image, LUMA)[None], KERNELS["sobel_x"])[0]
    limit = float(answer.abs().quantile(0.99))
    answers = {"sobel_x: below 0 dark": answer, "its ReLU": answer.relu()}
    for place, (name, picture) in zip(axes.flat[len(pictures) :], answers.items(), strict=False):
        place.imshow(picture, cmap="gray", vmin=-limit, vmax=limit)
        place.set(title=name, xticks=[], yticks=[])
    axes.flat[7].axis("off")
    for place in axes.flat:
        place.title.set_fontsize(9)
    figure.suptitle("Pooling keeps less, upsampling brings nothing back, ReLU keeps one side of an edge")
    return figure
