"""Triplet loss: an image should be nearer to one of its class than to one of another class, by a margin.

Schroff et al. 2015, "FaceNet: a unified embedding for face recognition and clustering": squared distances of embeddings
of length 1, and for each pair of a class a semi-hard image of another class. Hermans et al. 2017, "In defense of the
triplet loss for person re-identification": distances, and for each image the farthest of its class and the nearest of
another class in the batch. Here distances are not squared. Loss and mining are those of pytorch-metric-learning.
"""

from pytorch_metric_learning import losses, miners, reducers
from torch import Tensor, nn

from basics.choose import choose
from basics.errors import InputError

MINING = {
    "hard": lambda margin: miners.BatchHardMiner(),
    "semihard": lambda margin: miners.TripletMarginMiner(margin, type_of_triplets="semihard"),
}


class Triplet(nn.Module):
    """Mean of max(0, d(anchor, same class) - d(anchor, other class) + margin); embeddings have length 1.

    Args:
        margin: a distance; none is larger than 2.
        mining: hard, or semihard: farther than the image of the same class, but within the margin.

    Raises:
        InputError: there is no such mining, or the margin is not above 0.
    """

    def __init__(self, embedding_size: int, num_classes: int, margin: float = 0.2, mining: str = "hard") -> None:
        super().__init__()
        if margin <= 0:
            raise InputError(f"loss_args margin {margin}: must be above 0")
        self.mine = choose("mining", mining, MINING)(margin)
        self.loss = losses.TripletMarginLoss(margin, reducer=reducers.MeanReducer())

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return self.loss(embeddings, labels, self.mine(embeddings, labels))
