"""Cross-entropy of a linear layer over the embedding: the classifier's last hidden layer as an embedding.

Zhai and Wu 2018, "Classification is a strong baseline for deep metric learning".

Differences from the paper: neither embeddings nor class weights are normalised, and there is no temperature. As there,
the layer has no bias: classes differ by direction, which is what cosine distance sees.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class Softmax(nn.Module):
    def __init__(self, embedding_size: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(embedding_size, num_classes, bias=False)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.head(embeddings), labels)  # of (B, num_classes)
