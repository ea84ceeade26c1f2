"""What a card does with recordings, beyond what the stand-in of the CPU's tests knows of it."""

import pytest
import torch
from torch import nn

import callbacks.operators
from callbacks.captured_step import WARM_UP, CapturedStep, CudaGraphs

if not torch.cuda.is_available():
    pytest.skip("graphs are CUDA's: no GPU here that torch can use", allow_module_level=True)


class Task(nn.Module):
    """A net of which one layer is a function of its input, with dropout."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.function = nn.Linear(3, 4), function
        self.last = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1))

    def learn(self, x, y):
        error = (self.last(self.function(self.first(x))).squeeze(1) - y).square()
        return error.mean(), {"square": error.detach().sum()}


def losses(function, captured, keep=False):
    """Of ten steps, what was said about them, and how many graphs there were."""
    module, said, kept = Task(function).cuda(), [], []
    step = CapturedStep(module, CudaGraphs(), say=said.append) if captured else module.learn
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, fused=True)
    try:
        for number in range(WARM_UP + 7):
            torch.cuda.manual_seed(number)
            loss, _ = step(torch.rand(5, 3, device="cuda"), torch.rand(5, device="cuda"))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            kept.append(loss if keep else loss.item())
        return kept, said, len(step.recordings) if captured else 0
    finally:
        if captured:
            step.end()


def test_replays_draw_and_learn_as_eager_steps_do():
    found, said, graphs = losses(torch.tanh, captured=True)
    assert found == losses(torch.tanh, captured=False)[0]
    assert not said and graphs == 1


def test_a_loss_that_is_kept_does_not_keep_steps_from_being_recorded():
    _, said, graphs = losses(torch.tanh, captured=True, keep=True)
    assert not said and graphs == 1


@pytest.mark.parametrize("function", [lambda x: x * x.mean().item(), lambda x: x * torch.ones(4).cuda()])
def test_what_waits_for_the_device_is_told_before_it_is_recorded(function):
    found, (line,), graphs = losses(function, captured=True)
    assert "waits for a number from the device" in line and graphs == 0
    assert found == losses(function, captured=False)[0]


def test_a_recording_that_fails_leaves_the_device_as_it_was(monkeypatch):
    def masked(x):
        return x * x[x > 0].sum()

    monkeypatch.setattr(callbacks.operators, "BY_MASK", ())
    stream = torch.cuda.current_stream()
    found, (line,), graphs = losses(masked, captured=True)
    assert "the step runs eagerly, for" in line and graphs == 0
    assert found == losses(masked, captured=False)[0]  # the generator draws as before
    assert torch.cuda.current_stream() == stream
    assert losses(torch.tanh, captured=True)[2] == 1
