"""A small convolutional network of today's parts: two convolutions with BatchNorm, ReLU and pooling.

The plan is LeNet-5's, with more maps, BatchNorm (Ioffe and Szegedy 2015) and dropout
(Srivastava et al. 2014). It fits MNIST-like images; any size from 16 x 16 up works.
"""

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["CNN"]


class CNN(nn.Module):
    """Two convolution stages, one hidden linear layer, dropout before the output.

    Args:
        widths: maps of the first and second convolution, units of the hidden layer.
        dropout: probability of zeroing a hidden unit.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        widths: Sequence[int] = (32, 64, 256),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        first, second, hidden = widths
        side_h, side_w = ((side // 2 - 4) // 2 for side in (height, width))  # after both stages: 28 -> 14 -> 10 -> 5
        # A convolution before BatchNorm needs no bias: the mean takes it out again.
        self.features = nn.Sequential(
            nn.Conv2d(channels, first, kernel_size=5, padding=2, bias=False),  # 28
            nn.BatchNorm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 28 -> 14
            nn.Conv2d(first, second, kernel_size=5, bias=False),  # 14 -> 10
            nn.BatchNorm2d(second),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 10 -> 5
        )
        self.classifier = nn.Sequential(
            nn.Linear(second * side_h * side_w, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (B, C, H, W) -> (B, second, H', W')
        x = x.flatten(1)  # (B, second * H' * W')
        return self.classifier(x)  # (B, num_outputs)
