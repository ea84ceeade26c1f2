"""Contrastive loss: pairs of the same class are drawn together, others pushed apart up to a margin.

Hadsell et al. 2006, "Dimensionality reduction by learning an invariant mapping", equation 4, over all pairs of a batch.

Differences from the paper: embeddings have length 1; like and unlike pairs are averaged separately, because with ten
classes nine of ten pairs are unlike; and pairs without loss do not count. The last two are from
pytorch-metric-learning, whose own loss does not square distances.
"""

from pytorch_metric_learning import losses
from torch import Tensor

from basics.errors import InputError


class Contrastive(losses.ContrastiveLoss):
    """Mean of d^2 / 2 over pairs of one class, plus mean of max(0, margin - d)^2 / 2 over the others.

    Args:
        margin: a distance; none is larger than 2.

    Raises:
        InputError: the margin is not above 0.
    """

    def __init__(self, embedding_size: int, num_classes: int, margin: float = 1.0) -> None:
        if margin <= 0:
            raise InputError(f"loss_args margin {margin}: must be above 0")
        super().__init__(pos_margin=0, neg_margin=margin)

    def get_per_pair_loss(self, pair_dists: Tensor, pos_or_neg: str) -> Tensor:
        return super().get_per_pair_loss(pair_dists, pos_or_neg).square() / 2
