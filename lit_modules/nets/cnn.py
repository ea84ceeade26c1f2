"""A small convolutional network of modern parts: two convolutions with BatchNorm, ReLU and pooling.

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
        batch_norm: whether BatchNorm follows each layer but the last.
    """

    head = "classifier.4"

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        widths: tuple[int, int, int] = (32, 64, 256),
        dropout: float = 0.5,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        channels, height, width = input_shape
        first, second, hidden = widths
        side_h, side_w = ((side // 2 - 4) // 2 for side in (height, width))  # after both stages: 28 -> 14 -> 10 -> 5
        norm2d, norm1d = (nn.BatchNorm2d, nn.BatchNorm1d) if batch_norm else (nn.Identity, nn.Identity)
        bias = not batch_norm  # its mean cancels a bias
        self.features = nn.Sequential(
            nn.Conv2d(channels, first, kernel_size=5, padding=2, bias=bias),  # 28
            norm2d(first),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 28 -> 14
            nn.Conv2d(first, second, kernel_size=5, bias=bias),  # 14 -> 10
            norm2d(second),
            nn.ReLU(),
            nn.MaxPool2d(2),  # 10 -> 5
        )
        self.classifier = nn.Sequential(
            nn.Linear(second * side_h * side_w, hidden, bias=bias),
            norm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (B, C, H, W) -> (B, second, H', W')
        x = x.flatten(1)  # (B, second * H' * W')
        return self.classifier(x)  # (B, num_outputs)
