"""Classic convolution kernels, and images filtered with them. Images are (C, H, W), floats in 0..1."""

import torch
import torch.nn.functional as F
from torch import Tensor

BINOMIAL = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # nearly a Gaussian, of standard deviation 1
# Torch's convolution is a correlation: a kernel lies on the image as it is written here. Kernels whose weights add up
# to 1 keep the brightness; those whose weights add up to 0 respond to changes only.
KERNELS: dict[str, Tensor] = {
    "identity": torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    "edge": torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
    "sobel_x": torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]),  # Sobel and Feldman 1968; left to right
    "sobel_y": torch.tensor([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]]),  # top to bottom
    "laplacian": torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]),  # second differences along both axes
    "blur": torch.full((5, 5), 1 / 25),
    "gaussian": torch.outer(BINOMIAL, BINOMIAL),
    "sharpen": torch.tensor([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]]),  # identity minus laplacian
    "emboss": torch.tensor([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]]),  # light from the upper left
}
LUMA = (0.299, 0.587, 0.114)  # shares of red, green and blue in perceived brightness: ITU-R BT.601


def filtered(image: Tensor, kernel: Tensor) -> Tensor:
    """Each channel filtered with the kernel, (K, K), borders mirrored so that the size stays the same; (C, H, W)."""
    channels, padding = len(image), len(kernel) // 2
    weight = kernel.expand(channels, 1, *kernel.shape)  # (C, 1, K, K): the kernel for each channel
    padded = F.pad(image[None], [padding] * 4, mode="reflect")  # (1, C, H + 2p, W + 2p)
    return F.conv2d(padded, weight, groups=channels)[0]


def weighted_sum(image: Tensor, weights: tuple[float, ...]) -> Tensor:
    """The channels, weighted and added pixel by pixel, as a 1x1 convolution does; (C, H, W) -> (H, W)."""
    return F.conv2d(image[None], torch.tensor(weights).view(1, -1, 1, 1))[0, 0]
