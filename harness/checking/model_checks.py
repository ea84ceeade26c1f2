"""What may be wrong with a network and its input, by a few dozen steps on copies of it."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from harness.checking.findings import Finding
from lit_modules import Classifier, RowClassifier, label_stages
from lit_modules.class_losses import chance_level
from lit_modules.label_stages import LabelStages
from lit_modules.number_stages import NumberStages
from lit_modules.segmenter import Segmenter
from lit_modules.stages import Batch, Stages

# Of the network's input; initial weights are made for 0 and 1. Columns of a table are often 0 in most rows.
MEAN, STD = 0.5, {"images": (0.5, 2.0), "rows": (0.2, 3.0)}
LOSS = 1.5  # above ln C; logits of standard deviation s instead of 0 raise it by s^2 / 2
ERROR = 10.0  # squared, in variances of the target
# Whose loss has a usual start, and can reach 0.
LOSSES_OF = (Classifier, RowClassifier, NumberStages, LabelStages, Segmenter)
DEAD = 0.2  # share of units
RECTIFIERS = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)

# What is learnt by heart: images or rows, of which a linear function of few columns can fit only few, and Adam's rate.
SMALL = {"images": (32, 1e-3), "rows": (8, 1e-2)}
STEPS = 100  # at most
LEARNT_ACC, LEARNT_LOSS = 0.95, 0.1  # accuracy, or share of the initial loss if there is no accuracy
FIRST = 3  # steps in which every parameter must get a gradient; one that starts at 0 may block others in the first


def _kind(inputs: Tensor) -> str:
    return "images" if inputs.ndim == 4 else "rows"


def check_range(batch: Batch) -> Finding:
    """Whether augmented images stay images."""
    low, high = float(batch[0].min()), float(batch[0].max())
    ok = -1e-4 <= low < high <= 1 + 1e-4
    return Finding("augmented images", ok, f"values {low:.3g} to {high:.3g}", "within 0 to 1")


@torch.no_grad()
def check_input(model: Stages, inputs: Tensor, columns: slice) -> Finding:
    """Mean and standard deviation of the network's actual input: of each channel, or of a table's `columns`."""
    seen = [inputs]
    twin = twin_of(model).eval()
    with twin.net.register_forward_pre_hook(lambda module, args: seen.append(args[0])):
        twin(inputs)
    given = seen[-1].float()  # an ensemble for tables is not called as a module, and gets the rows as they are
    channels = given.transpose(0, 1).flatten(1) if given.ndim == 4 else given[:, columns].reshape(1, -1)  # (C, values)
    means, stds = channels.mean(1), channels.std(1)
    worst_mean, worst_std = means[means.abs().argmax()], stds[stds.log().abs().argmax()]
    low, high = STD[_kind(inputs)]
    ok = bool(worst_mean.abs() <= MEAN and low <= worst_std <= high)
    found = f"mean {worst_mean:.2f}, std {worst_std:.2f}" + (" of the worst channel" if len(channels) > 1 else "")
    return Finding("network's input", ok, found, f"mean within {MEAN:g} of 0, std {low:g} to {high:g}")


def check_initial_loss(model: Stages, batch: Batch) -> Finding:
    """The loss before any step, compared with that of knowing nothing, such as ln C, or the variance of the targets."""
    loss = _loss_and_acc(twin_of(model), batch)[1]
    if isinstance(model, NumberStages):
        return Finding("initial loss", loss <= ERROR, f"{loss:.2f}", f"at most {ERROR:g}; always the mean has 1")
    if isinstance(model, LabelStages):
        usual, formula = label_stages.chance_level(model.hparams["loss"])
    else:
        usual, formula = chance_level(model.hparams.get("loss", "ce"), model.hparams["num_classes"])
    ok = 0.5 * usual <= loss <= usual + LOSS
    return Finding("initial loss", ok, f"{loss:.2f}", f"{0.5 * usual:.2f} to {usual + LOSS:.2f}; chance has {formula}")


def check_units(model: Stages, batches: list[Batch]) -> Finding:
    """The share of rectified units, or channels, that no sample of the batches activates."""
    count = sum(len(labels) for _, labels in batches)
    peaks = _peaks(model, [inputs for inputs, _ in batches])
    if not peaks:
        return Finding("dead units", True, "no ReLU in this network", "no more than a few")
    dead = [int((peak <= 0).sum()) for peak in peaks]
    total, worst = sum(len(peak) for peak in peaks), max(range(len(peaks)), key=lambda i: dead[i] / len(peaks[i]))
    found = f"{sum(dead):,} of {total:,} ReLU units never active on {count:,} samples"
    if sum(dead):
        found += f", {dead[worst]:,} of {len(peaks[worst]):,} in ReLU {worst + 1} of {len(peaks)}"
    return Finding("dead units", sum(dead) <= DEAD * total, found, f"at most {DEAD:.0%}")


@torch.no_grad()
def _peaks(model: Stages, inputs: list[Tensor]) -> list[Tensor]:
    """The largest value of each unit of each ReLU, in the order of their calls."""
    twin, peaks = twin_of(model), None
    for part in inputs:
        with _Rectifiers() as rectifiers:
            twin(part)
        ours = rectifiers.peaks
        peaks = [torch.maximum(*pair) for pair in zip(peaks, ours, strict=True)] if peaks else ours
    return peaks or []


class _Rectifiers(TorchFunctionMode):
    """Records the largest value of each unit of every ReLU, module or function, that is called in its context."""

    def __init__(self) -> None:
        super().__init__()
        self.peaks: list[Tensor] = []

    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in RECTIFIERS:
            units = result.transpose(0, 1) if result.ndim == 4 else result.flatten(1).T  # channels or units first
            self.peaks.append(units.flatten(1).amax(1))
        return result


class Lesson(NamedTuple):
    """The result of learning a batch by heart."""

    losses: list[float]
    acc: float | None  # at the end, if the task has one
    missing: list[str]  # parameters without a gradient
    broken: list[str]  # parameters with one that is not finite


def check_learning(model: Stages, batch: Batch) -> Iterator[Finding]:
    """Whether gradients get through, and Adam can learn one small batch by heart without regularisation."""
    count, lr = SMALL[_kind(batch[0])]
    losses, acc, missing, broken = _learn(twin_of(model), (batch[0][:count], batch[1][:count]), lr)
    faults = {"none": missing, "not finite": broken}
    found = "; ".join(f"{fault} at {', '.join(names[:3])}" for fault, names in faults.items() if names)
    total = f"{len(missing) + len(broken)} of {len(list(model.parameters()))} parameters"
    goal = f"finite and not 0 at each parameter within {FIRST} steps"
    yield Finding("gradients", not found, f"{found}; {total}" if found else "at all parameters", goal)
    if isinstance(model, LOSSES_OF):
        found = f"loss {losses[0]:.2f} to {losses[-1]:.2f}" + (f", accuracy {acc:.0%}" if acc is not None else "")
        goal = f"accuracy {LEARNT_ACC:.0%}" if acc is not None else f"loss down to {LEARNT_LOSS:.0%}"
        found, goal = f"{found} in {len(losses)} steps", f"{goal} within {STEPS} steps of Adam"
        yield Finding(f"{min(count, len(batch[1]))} samples by heart", _is_learnt(losses, acc), found, goal)


def _learn(twin: Stages, batch: Batch, lr: float) -> Lesson:
    optimizer = torch.optim.Adam(twin.parameters(), lr)
    named = {name: parameter for name, parameter in twin.named_parameters() if parameter.requires_grad}
    reached, broken, losses = set(), set(), []
    for step in range(STEPS):
        optimizer.zero_grad()
        objective, loss, acc = _loss_and_acc(twin, batch)
        objective.backward()
        gradients = {name: parameter.grad for name, parameter in named.items() if parameter.grad is not None}
        if step < FIRST:
            reached |= {name for name, gradient in gradients.items() if gradient.any()}
            broken |= {name for name, gradient in gradients.items() if not gradient.isfinite().all()}
        optimizer.step()
        losses.append(loss)
        if step >= FIRST and _is_learnt(losses, acc):
            break
    return Lesson(losses, acc, [name for name in named if name not in reached], sorted(broken))


def _is_learnt(losses: list[float], acc: float | None) -> bool:
    return acc >= LEARNT_ACC if acc is not None else losses[-1] <= LEARNT_LOSS * losses[0]


def twin_of(model: Stages) -> Stages:
    """A copy to experiment on, in training mode except for dropout, the mixing of images and the weights of classes."""
    twin = copy.deepcopy(model).train()
    twin.mixes, twin.class_weights = [], None
    for module in twin.modules():
        if isinstance(module, DROPOUTS):
            module.eval()
    return twin


def _loss_and_acc(twin: Stages, batch: Batch) -> tuple[Tensor, float, float | None]:
    """What a training step minimises, the loss that it logs, and the accuracy, if it logs one."""
    objective = twin.training_step(batch, 0)
    means, _ = twin.means["train"].compute()
    return objective, means["loss"], means.get("acc")
