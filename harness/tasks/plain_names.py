"""What readers of a study see in place of the names in metrics.json, which stay short."""

import re

# Parts of a name, between slashes.
PARTS = {
    "w": "slope",
    "b": "intercept",
    "w1": "first weight",
    "w2": "second weight",
    "val": "validation",
    "acc": "accuracy",
    "val_acc": "validation accuracy",
    "test_acc": "test accuracy",
    "early_val_acc": "validation accuracy after a quarter of the steps",
    "train_error": "training error",
    "f1": "F1",
    "lr": "best rate",
    "floor": "lowest possible loss",
    "rank": "directions that its outputs span",
    "gap_from_one_layer": "largest difference from one linear layer",
    "difference": "largest difference from the least-squares line",
    "difference_from_autograd": "largest difference from autograd",
    "difference_from_central": "largest difference from central differences",
    "gradient_difference": "largest difference of a gradient from central differences",
    "largest_difference": "largest difference between the ways",
    "largest_gap": "largest difference that should be 0",
    "refused": "examples that torch refuses",
    "most_updates": "updates that Novikoff's bound allows",
    "largest_share_of_bound": "largest share of the allowed updates that was needed",
    "wrong": "points on the wrong side",
    "wrong_by_logistic": "points on the wrong side of logistic regression's line",
    "arrived": "starts that settled in a minimum",
    "steps_to_leave_saddle": "steps to leave the saddle",
    "multiply_adds": "multiplications and additions",
    "multiply_adds_by_torch": "multiplications and additions, as torch counts them",
    "lead": "lead of the averaging CNN over the MLP, in points",
    "healthy": "networks with healthy gradients",
    "initial": "at the start",
    "trained": "after training",
    "times_as_fast": "whole batches, times as fast as samples one by one",
}


def in_words(name: str) -> str:
    """Such as "sigmoid, cross entropy, test accuracy" for sigmoid/cross_entropy/test_acc."""
    if name.startswith("df/"):  # a derivative
        return name
    return ", ".join(PARTS.get(part) or _spaced(part) for part in name.split("/"))


def _spaced(part: str) -> str:
    """Words apart, and numbers from the words that they follow or come before: `batch16`, `natural_4px`."""
    words = re.sub(r"(?<=[a-z])(?=\d)|(?<=\d)(?=px)", " ", part) if re.fullmatch(r"[a-z_]+\d[\w.]*", part) else part
    return words.replace("_", " ")
