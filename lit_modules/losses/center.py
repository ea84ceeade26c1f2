"""Center loss: cross-entropy, and each embedding's squared distance from its class's centre.

Wen et al. 2016, "A discriminative feature learning approach for deep face recognition", equations 4 and 5. The centres
are not parameters: they move as in the paper's algorithm 1, by the batch's mean deviation from them.

Differences from the paper: both losses are means over the batch, not sums, which leaves their ratio as it is, and the
output layer has no bias: classes differ by direction, which is what cosine distance sees.
"""

import torch
from torch import Tensor, distributed

from basics.errors import InputError
from lit_modules.losses.softmax import Softmax


class Center(Softmax):
    """Cross-entropy + weight / 2 * mean of |x - c_y|^2.

    Args:
        weight: the paper's lambda.
        rate: by what share of the deviation the centres move each step; the paper's alpha.
        label_smoothing: that of the cross-entropy.

    Raises:
        InputError: a number is out of its range.
    """

    centres: Tensor

    def __init__(
        self,
        embedding_size: int,
        num_classes: int,
        weight: float = 0.05,
        rate: float = 0.5,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(embedding_size, num_classes, label_smoothing)
        if weight < 0:
            raise InputError(f"loss_args weight {weight}: must not be negative")
        if not 0 <= rate <= 1:
            raise InputError(f"loss_args rate {rate}: must be from 0 to 1")
        self.weight, self.rate = weight, rate
        self.register_buffer("centres", torch.zeros(num_classes, embedding_size))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        deviations = embeddings - self.centres[labels]  # (B, D)
        compactness = deviations.square().sum(1).mean() / 2
        if self.training:
            self._move(deviations.detach(), labels)
        return super().forward(embeddings, labels) + self.weight * compactness

    def _move(self, deviations: Tensor, labels: Tensor) -> None:
        """Moves the centres by the deviations of all devices' batches, so that all devices have the same ones."""
        ones = deviations.new_ones(len(deviations), 1)
        sums = deviations.new_zeros(len(self.centres), deviations.shape[1] + 1)
        sums.index_add_(0, labels, torch.cat([deviations, ones], dim=1))  # (C, D + 1): the last column counts
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        self.centres += self.rate * sums[:, :-1] / (1 + sums[:, -1:])
