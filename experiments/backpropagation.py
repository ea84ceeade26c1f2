"""Backpropagation by hand, beside autograd and central differences; and what the loss does to the gradient.

    python experiments/backpropagation.py                              four networks of three layers on 1,797 digits
    python experiments/backpropagation.py --activation tanh --lr 0.3
    python experiments/backpropagation.py --widths 64,64,64,64         deeper: 400 steps are too few for sigmoids

The four networks have sigmoid or softmax outputs, and squared error or cross-entropy as their loss. They start with the
same weights and see the same batches. Each has a twin made of torch.nn, which autograd trains. In none of the 400 steps
does any gradient, weight or loss of the two differ by as much as 1e-14, in float64. Central differences are within
1e-9, which is their own error.

The figure output_delta shows why cross-entropy learns faster. Its gradient at an output is the error itself: the
probability p minus the target y. Squared error multiplies that by the slope of the output, which for a sigmoid is p
times 1 - p. This slope vanishes where the output is sure, even if it is sure of a wrong class. A softmax has a matrix
of slopes, the Jacobian, which vanishes in the same way. The curves show, with seed 0:

- At a rate of 1 and after 100 steps, cross-entropy has 77 % of the validation digits right with sigmoid outputs, and
  87 % with softmax. Squared error has 5 % and 16 %.
- Part of that is the rate, for the gradient of squared error is smaller everywhere. It does best at a rate of 3, where
  it has 50 % and 58 % right after 100 steps, and as many as cross-entropy after 400.
- A net that starts out sure of a wrong class does not learn by squared error at the rate that is best from the usual
  start. With cross-entropy it does (figure curves, on the right).

Linear layers without an activation between them are one linear layer. The figure linear_boundaries has the one line
that they can draw, and linear_ranks the two directions of the plane, all that eight hidden units can keep.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from basics.errors import InputError
from experiments.fundamentals.backpropagation_figures import (
    Curve,
    draw_agreement,
    draw_curves,
    draw_jacobians,
    draw_output_deltas,
)
from experiments.fundamentals.delta_recursion import Kind, Loss, Output, forward, predict
from experiments.fundamentals.digit_rows import Split, as_float64, check_batch_size, read_digits
from experiments.fundamentals.digit_training import (
    EVERY,
    Comparison,
    Plan,
    Training,
    accuracy_of,
    one_hot,
    train,
    train_beside_autograd,
)
from experiments.fundamentals.linear_layers import compare_linear_layers
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATES = (0.1, 0.3, 1.0, 3.0, 10.0)  # each of which every network is also trained at
WRONG = 12.0  # a bias of the output for 0 that makes a net sure of it: its probability is 0.9999 then

TRY_NEXT = "--activation tanh --lr 0.3  # how much of the lead of cross-entropy is left?"


@dataclass(frozen=True, kw_only=True)
class BackpropagationFlags(StudyFlags):
    """The networks and their training, plain gradient descent.

    Args:
        widths: units of each hidden layer.
        activation: of the hidden layers.
        lr: learning rate of the trainings that are compared step by step.
        batch_size: images per step.
        steps: of each training.
        seed: of the validation split, the initial weights and the batches.
        sample: use the embedded digits; false: MNIST.
        data_dir: folder that holds the data sets; what is missing is downloaded to it.
    """

    widths: list[int] = field(default_factory=lambda: [64, 32])
    activation: Literal["sigmoid", "tanh", "relu"] = "sigmoid"
    lr: float = 1.0
    batch_size: int = 64
    steps: int = 400
    seed: int = 0
    sample: bool = True
    data_dir: str = "data"


DEFAULTS = BackpropagationFlags()


def main(flags: BackpropagationFlags = DEFAULTS) -> dict[str, Any]:
    """Trains networks by hand beside autograd, with two outputs and two losses, and shows what linear layers lack."""
    if flags.lr <= 0:
        raise InputError(f"lr {flags.lr}: must be above 0")
    if min(flags.widths, default=1) < 1:
        raise InputError(f"widths {flags.widths}: every layer needs at least one unit")
    splits = as_float64(read_digits(flags.data_dir, flags.seed, flags.sample))
    images = len(splits["train"].labels)
    check_batch_size(flags.batch_size, splits["train"].labels)
    study = Study("backpropagation", flags, try_next=TRY_NEXT)
    plan = Plan(tuple(flags.widths), flags.lr, flags.batch_size, flags.steps, flags.seed)
    print(f"{images:,} training digits, {flags.steps} steps of {flags.batch_size}, by hand beside autograd", flush=True)
    beside = {kind: train_beside_autograd(splits, kind, plan) for kind in kinds_of(flags.activation)}
    trainings = {kind: training for kind, (training, _) in beside.items()}
    rates = {kind: {rate: train(splits, kind, plan._replace(lr=rate)) for rate in RATES} for kind in beside}
    metrics = _metrics(beside, rates, splits["test"])
    usual = Kind(flags.activation)
    start = train(splits, usual, plan._replace(steps=0))
    figures = {
        "output_delta": draw_output_deltas(*_outputs(splits, plan, usual)),
        "curves": _draw_curves(splits, plan, trainings, rates),
        "softmax_jacobian": draw_jacobians(_examples(trainings[usual], start, splits["val"], usual)),
        "agreement": draw_agreement({kind.name: comparison for kind, (_, comparison) in beside.items()}),
    }
    seed_everything(flags.seed, verbose=False)
    linear_metrics, linear_figures = compare_linear_layers(flags.seed)
    return study.conclude(metrics | linear_metrics, figures | linear_figures)


def kinds_of(activation: str) -> list[Kind]:
    """Both outputs, each with both losses."""
    return [Kind(activation, output, loss) for output in get_args(Output) for loss in get_args(Loss)]


def _early(training: Training) -> float:
    """The accuracy after a quarter of the steps, where the networks differ most."""
    return training.accuracies[(len(training.accuracies) - 1) // 4]


def _best_rate(by_rate: dict[float, Training]) -> float:
    return max(by_rate, key=lambda rate: _early(by_rate[rate]))


def _metrics(
    beside: dict[Kind, tuple[Training, Comparison]], rates: dict[Kind, dict[float, Training]], test: Split
) -> dict[str, Any]:
    metrics: dict[str, Any] = {"networks": {}}
    for kind, (training, comparison) in beside.items():
        name = f"{kind.output}/{kind.loss.replace(' ', '_').replace('-', '_')}"
        metrics |= {
            f"{name}/test_acc": accuracy_of(training.layers, test, kind),
            f"{name}/early_val_acc": _early(training),
            f"{name}/best_rate": _best_rate(rates[kind]),
            f"{name}/difference_from_autograd": max(comparison.autograd),
            f"{name}/difference_from_central": max(comparison.central),
        }
        by_rate = {rate: its.accuracies[-1] for rate, its in rates[kind].items()}
        metrics["networks"][name] = {"val_acc": training.accuracies, "by_rate": by_rate, **comparison._asdict()}
    return metrics


def _draw_curves(
    splits: dict[str, Split],
    plan: Plan,
    trainings: dict[Kind, Training],
    rates: dict[Kind, dict[float, Training]],
) -> "Figure":
    steps = range(0, plan.steps + 1, EVERY)
    same = [Curve(kind, plan.lr, steps, training.accuracies) for kind, training in trainings.items()]
    wrong = []
    for kind, by_rate in rates.items():
        rate = _best_rate(by_rate)
        training = train(splits, kind, plan._replace(lr=rate, wrong=WRONG))
        wrong.append(Curve(kind, rate, steps, training.accuracies))
    early = {kind: {rate: _early(training) for rate, training in by_rate.items()} for kind, by_rate in rates.items()}
    return draw_curves(same, early, wrong)


def _outputs(splits: dict[str, Split], plan: Plan, kind: Kind) -> tuple[Tensor, Tensor]:
    """Outputs and targets of the validation digits, by nets that are sure of 0, partly trained and trained."""
    rows, labels = splits["val"]
    plans = [plan._replace(steps=0, wrong=WRONG), plan._replace(steps=plan.steps // 4), plan]
    outputs = [predict(forward(train(splits, kind, its).layers, rows, kind)[-1], kind.output) for its in plans]
    return torch.cat(outputs), one_hot(labels).repeat(len(plans), 1)


def _examples(trained: Training, start: Training, val: Split, kind: Kind) -> dict[str, Tensor]:
    """The outputs for one digit at the start, and for the most doubtful and the surest digit at the end."""
    first = predict(forward(start.layers, val.rows[:1], kind)[-1], kind.output)[0]
    p = predict(forward(trained.layers, val.rows, kind)[-1], kind.output)  # (N, 10)
    doubtful, sure = int(p.topk(2).values[:, 1].argmax()), int(p.amax(1).argmax())
    return {
        f"at the start: a {val.labels[0]}": first,
        f"in doubt: a {val.labels[doubtful]}": p[doubtful],
        f"sure: a {val.labels[sure]}": p[sure],
    }


if __name__ == "__main__":
    cli(main)
