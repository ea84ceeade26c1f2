"""Classic convolution kernels, and images filtered with them. Images are (C, H, W), floats in 0..1."""

import torch
import torch.nn.functional as F
from torch import Tensor

BINOMIAL = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16  # nearly a Gaussian, of standard deviation 1
# Torch's convolution is a correlation: a kernel lies on the image as it is written here. Those whose weights add up
# to 1 keep the brightness; those that add up to 0 answer to changes only.
KERNELS: dict[str, Tensor] = {
    "identity": torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]),
    "edge": torch.tensor([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
    "sobel_x": torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]),  # Sobel and Feldman 1968; left to right
    "sobel_y": torch.tensor([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]]),  # top to bottom
    "laplacian": torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]),  # second differences along both axes
    "blur": torch.full((5, 5), 1 / 25),
    "gaussian": torch.outer(BINOMIAL, BINOMIAL),
    "sharpen": torch.tensor([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]]),  # identity minus laplacian
    "emboss": torch.tensor([[-2.0, -1, 0], [-1, 1, 1], [0, 1, 2]]),  # light from the lower right
}
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in the eye's brightness: ITU-R BT.601


def filtered(image: Tensor, kernel: Tensor) -> Tensor:
    """Each channel under the kernel, (K, K), at the image's own size, its border mirrored; (C, H, W)."""
    channels, padding = len(image), len(kernel) // 2
    weight = kernel.expand(channels, 1, *kernel.shape)  # (C, 1, K, K): a kernel to each channel
    padded = F.pad(image[None], [padding] * 4, mode="reflect")  # (1, C, H + 2p, W + 2p)
    return F.conv2d(padded, weight, groups=channels)[0]


def weighted_sum(image: Tensor, weights: tuple[float, ...]) -> Tensor:
    """The channels, weighted and added pixel by pixel, which is what a 1x1 convolution is; (C, H, W) -> (H, W)."""
    return F.conv2d(image[None], torch.tensor(weights).view(1, -1, 1, 1))[0, 0]
