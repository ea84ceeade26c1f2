"""Neighbourhood components analysis on a batch: the log-probability of choosing a neighbour of one's own class.

Goldberger et al. 2004, "Neighbourhood components analysis". Salakhutdinov and Hinton 2007, "Learning a nonlinear
embedding by preserving class neighbourhood structure", replaced the linear map by a network.

Differences from the paper: neighbours are those in the batch; embeddings have length 1, so a fixed scale replaces the
one that the linear map learns; and the mean of log p is maximised, not that of p (the paper's second objective).
The loss is that of pytorch-metric-learning, which skips images that are the only ones of their class.
"""

from pytorch_metric_learning import losses

from basics.errors import InputError


class NCA(losses.NCALoss):
    """-log of the sum of p_ij over j of i's class, where p_ij is the softmax over j of -scale * |x_i - x_j|^2.

    Args:
        scale: of squared distances, which are 4 at most; the larger, the fewer neighbours count.

    Raises:
        InputError: the scale is not above 0.
    """

    def __init__(self, embedding_size: int, num_classes: int, scale: float = 5.0) -> None:
        if scale <= 0:
            raise InputError(f"loss_args scale {scale}: must be above 0")
        super().__init__(softmax_scale=scale)
