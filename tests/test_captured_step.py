"""CapturedStep by itself: what it records, when it stays eager, and that the stand-in catches mistakes."""

import random
from itertools import count

import numpy as np
import pytest
import torch
from strict_graphs import StrictError, StrictGraphs
from torch import nn

from callbacks.captured_step import WARM_UP, CapturedStep
from lit_modules.embedder import Embedder
from lit_modules.losses import LOSSES
from lit_modules.regressor import Regressor
from lit_modules.row_classifier import RowClassifier
from lit_modules.segmenter import Segmenter


class Task(nn.Module):
    """Has what is recorded: `learn`."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def learn(self, x, y):
        error = (self.net(x).squeeze(1) - y).square()
        return error.mean(), {"square": error.detach().sum()}


class Call(nn.Module):
    """A layer that is a function of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def net(*layers):
    torch.manual_seed(0)
    return Task(nn.Sequential(nn.Linear(3, 4), *layers, nn.Linear(4, 1)))


def batches(count, rows=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(rows, 3, generator=generator), torch.rand(rows, generator=generator)) for _ in range(count)]


def run(module, inputs, step=None, per_step=1, lr=0.1):
    """Trains by SGD with steps of `per_step` batches; the losses, sums and weights."""
    optimizer, seen = torch.optim.SGD(module.parameters(), lr, momentum=0.9), []
    for number, batch in enumerate(inputs):
        torch.manual_seed(number)
        loss, sums = (step or module.learn)(*batch)
        seen += [loss.item(), *(value.item() for value in sums.values())]
        if number % per_step == 0:
            optimizer.zero_grad()
        loss.backward()
        if (number + 1) % per_step == 0:
            optimizer.step()
    return seen, [parameter.detach().clone() for parameter in module.parameters()]


def captured(module, **options):
    said, graphs = [], StrictGraphs(module)
    return CapturedStep(module, graphs, say=said.append, **options), graphs, said


def same(one, other):
    return one[0] == other[0] and all(map(torch.equal, one[1], other[1]))


@pytest.mark.parametrize("per_step", [1, 3])
def test_steps_are_the_same_as_eager_ones(per_step):
    step, graphs, said = captured(module := net(nn.Dropout(0.5)))
    step.accumulates = per_step > 1
    assert same(run(module, batches(12), step, per_step), run(net(nn.Dropout(0.5)), batches(12), per_step=per_step))
    assert graphs.replays == 12 - WARM_UP and not said
    (recording,) = step.recordings.values()
    kept = [
        own.data_ptr() == its.grad.data_ptr() for own, its in zip(recording.gradients, module.parameters(), strict=True)
    ]
    assert kept == [per_step == 1] * 4  # a gradient is only copied if others are added to it


def test_each_shape_has_its_own_graphs():
    inputs = [batch for pair in zip(batches(6), batches(6, rows=2), strict=True) for batch in pair]
    step, graphs, said = captured(module := net(nn.Tanh()))
    assert same(run(module, inputs, step), run(net(nn.Tanh()), inputs))
    assert len(step.recordings) == 2 and graphs.replays == 12 - 2 * WARM_UP and not said


def test_a_layer_that_is_frozen_gets_no_gradient():
    step, graphs, _ = captured(module := net(nn.Tanh()))
    run(module, batches(5), step)
    module.net[0].requires_grad_(False)
    step.look_at_module()
    before = module.net[0].weight.clone()
    for parameter in module.parameters():
        parameter.grad = None
    replays = graphs.replays
    for batch in batches(5):
        step(*batch)[0].backward()
    assert module.net[0].weight.grad is None and torch.equal(module.net[0].weight, before)
    assert module.net[2].weight.grad is not None and graphs.replays == replays + 5 - WARM_UP


KEPT, NUMBERS = torch.ones(4), count()


def by_dice(x):
    return x.relu() if random.random() < 0.5 else x.tanh()


def by_numpys_dice(x):
    return x * np.random.rand()  # noqa: NPY002


REFUSED = {
    "reads a number": (lambda x: x * x.mean().item(), "waits for a number from the device"),
    "a branch on a value": (lambda x: x if x.sum() > 0 else -x, "waits for a number from the device"),
    "as many numbers as are above 0": (lambda x: x * x[x > 0].sum(), "waits for a number from the device (index)"),
    "Python's dice": (by_dice, "draws random numbers on the host"),
    "numpy's": (by_numpys_dice, "draws random numbers on the host"),
    "another number each time": (lambda x: x * next(NUMBERS), "differ from step to step"),
    "a tensor of its own": (lambda x: x * KEPT, "no input of the graph, and no part of the module"),
    "a tensor made of Python's numbers": (lambda x: x * torch.tensor([1.0, 2.0, 3.0, 4.0]), "lift_fresh"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_stays_eager_and_is_said_once(name):
    function, reason = REFUSED[name]
    step, graphs, said = captured(module := net(Call(function)))
    run(module, batches(7), step)
    (line,) = said
    assert line.startswith("capture: the step runs eagerly, for ") and reason in line and "\n" not in line
    assert graphs.replays == 0


def test_a_net_with_a_hook_stays_eager():
    step, graphs, said = captured(module := net(nn.Tanh()))
    calls = []
    module.net[1].register_forward_hook(lambda *_: calls.append(1))
    run(module, batches(7), step)
    assert said == ["capture: the step runs eagerly, for Tanh has a hook, which a graph would not call"]
    assert len(calls) == 7 and graphs.replays == 0


def test_a_net_with_a_hook_on_a_parameter_stays_eager():
    step, graphs, said = captured(module := net(nn.Tanh()))
    module.net[2].weight.register_hook(lambda gradient: gradient * 0.5)
    run(module, batches(7), step)
    assert said == ["capture: the step runs eagerly, for Linear has a hook, which a graph would not call"]
    assert graphs.replays == 0


def test_gradients_that_are_set_to_zero_in_place_are_the_same():
    def zeroing(module, step=None):
        for batch in batches(9):
            loss, _ = (step or module.learn)(*batch)
            module.zero_grad(set_to_none=False)  # after the forward pass, as Lightning does it
            loss.backward()
        return [parameter.grad for parameter in module.parameters()]

    step, graphs, _ = captured(module := net(nn.Tanh()))
    assert all(map(torch.equal, zeroing(module, step), zeroing(net(nn.Tanh()))))
    assert graphs.replays == 9 - WARM_UP


# What follows shows that the stand-in is strict: each fault that a card would not report ends in NaN here.


def test_an_input_that_is_not_copied_in_is_seen():
    step, _, _ = captured(module := net(nn.Tanh()))
    run(module, batches(WARM_UP + 1), step)
    (recording,) = step.recordings.values()
    assert recording.loss.isfinite()
    recording.forward.replay()
    assert recording.loss.isnan()


def test_gradients_that_are_added_up_in_the_graphs_memory_are_seen():
    step, _, _ = captured(module := net(nn.Tanh()))
    run(module, batches(WARM_UP + 1), step)
    (recording,) = step.recordings.values()
    recording.forward.replay()
    with pytest.raises(StrictError, match="a gradient that is kept would be overwritten"):
        recording.backward.replay()


def test_a_loss_that_is_read_too_late_is_another_steps():
    step, _, _ = captured(module := net(nn.Tanh()))
    run(module, batches(WARM_UP + 1), step)
    first, second = batches(2, seed=1)
    kept, _ = step(*first)
    value = kept.item()
    step(*second)
    assert kept.item() != value


# The tasks


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_embedding_losses_are_recorded(loss):
    def embedder():
        torch.manual_seed(0)
        return Embedder("mlp", (1, 4, 4), 3, loss=loss, embedding_size=4, net_args={"widths": [8]}).train()

    inputs = [(torch.rand(12, 1, 4, 4), torch.randint(3, (12,))) for _ in range(8)]
    step, graphs, said = captured(module := embedder())
    assert same(run(module, inputs, step), run(embedder(), inputs))
    recorded = loss in ("softmax", "center")  # the others pick pairs or classes by their values
    assert (graphs.replays, not said) == ((8 - WARM_UP, True) if recorded else (0, False))


@pytest.mark.parametrize("net", ["mlp", "tabm"])
@pytest.mark.parametrize("task", [Regressor, RowClassifier])
def test_tables_are_recorded(task, net):
    def module():
        torch.manual_seed(0)
        return task(net, (6,), **({"num_classes": 3} if task is RowClassifier else {"log_target": True})).train()

    targets = (lambda: torch.randint(3, (10,))) if task is RowClassifier else (lambda: torch.rand(10) + 1)
    inputs = [(torch.rand(10, 6), targets()) for _ in range(8)]
    step, graphs, said = captured(own := module())
    assert same(run(own, inputs, step), run(module(), inputs))
    assert graphs.replays == 8 - WARM_UP and not said


@pytest.mark.parametrize("net", ["unet", "fcn"])
@pytest.mark.parametrize("options", [{}, {"dice": 1.0}, {"binary": True, "dice": 1.0}])
def test_segmentations_are_recorded(net, options):
    def module():
        torch.manual_seed(0)
        return Segmenter(net, (3, 16, 16), 2, net_args={"widths": [2, 3, 4, 5]}, **options).train()

    inputs = [(torch.rand(3, 3, 16, 16), torch.randint(2, (3, 16, 16), dtype=torch.uint8)) for _ in range(8)]
    step, graphs, said = captured(own := module())
    assert same(run(own, inputs, step), run(module(), inputs))
    assert graphs.replays == 8 - WARM_UP and not said
