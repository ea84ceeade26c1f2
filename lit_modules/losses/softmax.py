"""Cross-entropy of a linear layer over the embedding: the classifier's last hidden layer as an embedding.

Zhai and Wu 2018, "Classification is a strong baseline for deep metric learning".

Differences from the paper: neither embeddings nor class weights are normalised, and there is no temperature. As there,
the layer has no bias: classes differ by direction, which is what cosine distance sees.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from basics.errors import InputError


class Softmax(nn.Module):
    """Cross-entropy of the embedding's linear layer.

    Args:
        label_smoothing: share of each target that is spread over all classes; it draws the images of a class together
            (Mueller et al. 2019, "When does label smoothing help?").

    Raises:
        InputError: the share is not from 0 to 1.
    """

    def __init__(self, embedding_size: int, num_classes: int, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise InputError(f"loss_args label_smoothing {label_smoothing}: must be from 0 to 1")
        self.label_smoothing = label_smoothing
        self.head = nn.Linear(embedding_size, num_classes, bias=False)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.head(embeddings), labels, label_smoothing=self.label_smoothing)
