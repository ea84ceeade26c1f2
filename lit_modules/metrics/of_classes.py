"""Metrics of a classification, from torchmetrics and lit_modules/class_scores.py.

Each run has those of the latter for its best epoch anyway; named here, they have curves as well.
"""

from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from basics.errors import InputError
from lit_modules.class_scores import OneFigure

__all__ = ["ap", "balanced_acc", "log_loss", "macro_f1", "roc_auc", "top5_acc"]


def balanced_acc(num_classes: int) -> OneFigure:
    """The mean of the classes' recalls."""
    return OneFigure("balanced_acc")


def roc_auc(num_classes: int) -> OneFigure:
    """The area under the ROC curve, one class against the others, and the mean over the classes."""
    return OneFigure("roc_auc")


def ap(num_classes: int) -> OneFigure:
    """Average precision, one class against the others, and the mean over the classes."""
    return OneFigure("ap")


def log_loss(num_classes: int) -> OneFigure:
    """Minus the logarithm of the true class's probability, whatever the loss of the training is."""
    return OneFigure("log_loss")


def macro_f1(num_classes: int) -> MulticlassF1Score:
    """The mean over the classes of the harmonic mean of precision and recall."""
    return MulticlassF1Score(num_classes, average="macro")


def top5_acc(num_classes: int) -> MulticlassAccuracy:
    """The share of samples whose class is among the five that the model finds likeliest."""
    return MulticlassAccuracy(num_classes, top_k=min(5, num_classes), average="micro")


def refuse_for(names: str, others: str) -> None:
    """Raises InputError if one of these names, which commas separate, is offered here; `others` says what there is."""
    for name in (part.strip() for part in names.split(",")):
        if name in __all__:
            raise InputError(f"metrics {name}: is for classes; {others}")
