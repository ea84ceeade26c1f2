"""LeNet-5, as in LeCun et al. 1998, "Gradient-based learning applied to document recognition".

Differences from the paper: every C3 map sees all six S2 maps, pooling has no learned scale,
tanh is not stretched, and the outputs are logits for cross-entropy instead of RBF units.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from basics.errors import InputError

__all__ = ["LeNet5"]


class LeNet5(nn.Module):
    """Two convolution stages, then three linear layers. Input is 28 x 28 or 32 x 32.

    Raises:
        InputError: the images have another size.
    """

    head = "classifier.4"

    def __init__(self, input_shape: Sequence[int] = (1, 28, 28), num_outputs: int = 10) -> None:
        super().__init__()
        channels, height, width = input_shape
        if (height, width) not in ((28, 28), (32, 32)):
            raise InputError(f"net lenet5: takes images of 28 x 28 or 32 x 32 pixels, not {height} x {width}")
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, kernel_size=5, padding=(32 - height) // 2),  # C1: -> 28, from the paper's 32
            nn.Tanh(),
            nn.AvgPool2d(2),  # S2: 28 -> 14
            nn.Conv2d(6, 16, kernel_size=5),  # C3: 14 -> 10
            nn.Tanh(),
            nn.AvgPool2d(2),  # S4: 10 -> 5
        )
        self.classifier = nn.Sequential(
            nn.Linear(400, 120),  # C5
            nn.Tanh(),
            nn.Linear(120, 84),  # F6
            nn.Tanh(),
            nn.Linear(84, num_outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (B, C, H, W) -> (B, 16, 5, 5)
        x = x.flatten(1)  # (B, 400)
        return self.classifier(x)  # (B, num_outputs)
