"""Metrics of a classification, from torchmetrics."""

from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

__all__ = ["macro_f1", "top5_acc"]


def macro_f1(num_classes: int) -> MulticlassF1Score:
    """The mean over the classes of the harmonic mean of precision and recall."""
    return MulticlassF1Score(num_classes, average="macro")


def top5_acc(num_classes: int) -> MulticlassAccuracy:
    """The share of samples whose class is among the five that the model finds likeliest."""
    return MulticlassAccuracy(num_classes, top_k=min(5, num_classes), average="micro")
