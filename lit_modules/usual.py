"""The usual options of each optimizer, for recipes that were made for another one.

sgd        0.01, Keras's rate; momentum 0.9 (He et al. 2016)
adagrad    0.01, torch's rate
rmsprop    0.001, without momentum: Keras's, after Tieleman and Hinton 2012
adadelta   1.0: it has a scale of its own (Zeiler 2012)
adam       0.001 (Kingma and Ba 2015); adamw the same, torch's
muon       0.02; momentum 0.95 (Jordan et al. 2024, whose updates are larger; the best of 0.001 to 0.02 for lenet5)

Weight decay as an L2 penalty is 0.0001 (He et al. 2016); apart from the gradient, where the rate multiplies it, 0.01
(torch's for adamw).
"""

from collections.abc import Mapping
from typing import Any

FAMILIES = {"momentum": "sgd", "nesterov": "sgd", "adamw": "adam"}  # families that share a rate
RATES = {"sgd": 0.01, "adagrad": 0.01, "rmsprop": 0.001, "adadelta": 1.0, "adam": 0.001, "muon": 0.02}
MOMENTA = {"sgd": 0.9, "rmsprop": 0.0, "muon": 0.95}
DECOUPLED = {"adamw", "muon"}  # whose weight decay is not an L2 penalty
L2, DECAY = 1e-4, 0.01


def usual_options(optimizer: str, recipe: Mapping[str, Any]) -> dict[str, float]:
    """What replaces the recipe's options if it was made for another optimizer.

    Args:
        recipe: `optimizer`, `lr`, and if it has them `momentum`, `weight_decay` and `backbone_lr`.
    """
    ours, theirs = (FAMILIES.get(name, name) for name in (optimizer, recipe["optimizer"]))
    changed: dict[str, float] = {}
    if ours != theirs and ours in RATES:
        changed["lr"] = RATES[ours]
        if recipe.get("backbone_lr"):  # lower than lr by the same factor
            changed["backbone_lr"] = float(f"{recipe['backbone_lr'] * RATES[ours] / recipe['lr']:.4g}")
        if "momentum" in recipe and ours in MOMENTA:
            changed["momentum"] = MOMENTA[ours]
    if recipe.get("weight_decay") and ours in RATES and (optimizer in DECOUPLED) != (recipe["optimizer"] in DECOUPLED):
        changed["weight_decay"] = DECAY if optimizer in DECOUPLED else L2
    return {name: value for name, value in changed.items() if value != recipe[name]}
