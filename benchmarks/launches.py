"""How many torch operators a training step dispatches, in a bare loop and in our runs, by net and optimizer.

    python benchmarks/launches.py                                 prints a table, from samples, in a minute
    python benchmarks/launches.py --nets '[lenet5]' --optimizers '[sgd]' --where true

On a GPU, a small network's step takes as long as its operators take to launch. They are counted on the CPU, which is
exact and the same on every machine. The setup is that of a GPU: optimizers are fused, and whether gradients
are finite is found out in each step but read later. Views count too: they launch nothing, but take the host's time.

    bare    a loop of torch calls over uint8 tensors: gather, scale, normalise, forward, backward, step
    ours    harness/training/fit.py as scripts call it, from the end of one optimizer step to the end of the next

Host reads are operators whose result Python waits for; on a GPU they make the step wait for the device.
`--where true` prints each operator that belongs to neither network nor optimizer, and the line that called it.
"""

import contextlib
import io
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
from jsonargparse import auto_cli
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from callbacks import FiniteGuard
from callbacks.operators import waits
from datamodules import CIFAR10, MNIST
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from lit_modules import Classifier
from lit_modules.heads import hidden_matrices
from lit_modules.nets import build_net
from lit_modules.optimizers import build_optimizer

ROOT = Path(__file__).resolve().parents[1]
NETWORK, OPTIMIZER, REST = "network", "optimizer", "rest"
RATES = {"lr": 0.001, "momentum": 0.9, "weight_decay": 0.0001}
STEP = 3  # the step that is counted; the first one creates the optimizer's state


class Operator(NamedTuple):
    name: str
    part: str  # the part of the step
    place: str  # the line of our code, or Lightning's, that called it
    reads: bool  # whether the host waits for its result


class Recorded(Exception):  # noqa: N818  it is no error
    """Ends the training once the step has been recorded."""


class Recorder(TorchDispatchMode):
    """Notes the operators from the end of one optimizer step to the end of the next; used by `recording`."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: list[Operator] = []
        self.part, self.steps = REST, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.namespace == "aten":  # leaves out the profiler's marks
            name = func.overloadpacket.__name__
            self.operators.append(Operator(name, self.part, _place(), waits(name, [*args, *kwargs.values()], result)))
        return result

    @contextlib.contextmanager
    def within(self, part: str) -> Iterator[None]:
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before

    def before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The optimizer's arguments; Lightning's closure, the forward and backward pass, is not counted as its work."""
        closure = kwargs.get("closure")
        self.part = OPTIMIZER
        return args, {**kwargs, "closure": self._around(closure)} if closure else kwargs

    def _around(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        def outside() -> Any:
            with self.within(REST):
                return closure()

        return outside

    def after_step(self, *unused: Any) -> None:
        self.part, self.steps = REST, self.steps + 1
        if self.steps == STEP - 1:
            self.__enter__()
        elif self.steps == STEP:
            self.__exit__(None, None, None)
            raise Recorded


def _place() -> str:
    """The innermost line of the stack outside torch."""
    for frame, line in traceback.walk_stack(sys._getframe(2)):  # from the recorder's caller on
        path = frame.f_code.co_filename
        if "/torch/" not in path and not path.startswith("<"):
            return f"{_short(Path(path))}:{line}"
    return ""


def _short(path: Path) -> str:
    parts = path.parts
    if "site-packages" in parts:
        return "/".join(parts[parts.index("site-packages") + 1 :])
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


@contextlib.contextmanager
def recording(net: torch.nn.Module) -> Iterator[Recorder]:
    """Records step number `STEP` of any training of the network."""
    recorder, backward = Recorder(), torch.autograd.backward

    def recorded_backward(*args: Any, **kwargs: Any) -> None:
        with recorder.within(NETWORK):
            backward(*args, **kwargs)

    def begin(*unused: Any) -> None:
        recorder.part = NETWORK

    def end(*unused: Any) -> None:
        recorder.part = REST

    hooks = [
        net.register_forward_pre_hook(begin),
        net.register_forward_hook(end),
        register_optimizer_step_pre_hook(recorder.before_step),
        register_optimizer_step_post_hook(recorder.after_step),
    ]
    try:
        with patch("torch.autograd.backward", recorded_backward), contextlib.suppress(Recorded):
            yield recorder
    finally:
        for hook in hooks:
            hook.remove()


def bare(data: Any, net_name: str, optimizer_name: str) -> list[Operator]:
    """The operators of a step in a bare torch loop."""
    images, labels = torch.from_numpy(data.arrays.train_images), torch.from_numpy(data.arrays.train_labels).long()
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    net = build_net(net_name, data.input_shape, data.num_classes)
    optimizer = build_optimizer(optimizer_name, net.parameters(), **RATES, hidden=hidden_matrices(net), fused=True)
    order = torch.from_numpy(data.train_indices)
    with recording(net) as recorder:
        for indices in order.split(data.batch_size)[:STEP]:
            x = images[indices]
            x = x.unsqueeze(1) if x.ndim == 3 else x.permute(0, 3, 1, 2)
            x, y = (x.float().div_(255) - mean) / std, labels[indices]
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
    return recorder.operators


def ours(data: Any, net_name: str, optimizer_name: str) -> list[Operator]:
    """The operators of a step in a run, set up as on a GPU but without augmentation."""
    shape, options = (data.input_shape, data.num_classes), {"optimizer": optimizer_name, **RATES}
    with patch.object(FiniteGuard, "_is_free", _is_not):
        model = Classifier(net_name, *shape, data.mean, data.std, **options)
        with recording(model.net) as recorder, tempfile.TemporaryDirectory() as runs, _quiet():
            quick = FitFlags(max_epochs=1, accelerator="cpu", devices=1, pictures=False, enable_progress_bar=False)
            quick = replace(quick, log_every_n_steps=50)  # the counted step is none that is logged
            fit_and_test("launches", model, data, replace(quick, run_dir=runs))
    return recorder.operators


def _is_not(*unused: Any) -> bool:
    return False


def _quiet() -> contextlib.AbstractContextManager[Any]:
    return contextlib.redirect_stdout(io.StringIO())


def count(operators: Iterable[Operator]) -> dict[str, int]:
    """The number of operators in each part and in all, and how many of them are host reads."""
    operators = list(operators)
    parts = {part: sum(operator.part == part for operator in operators) for part in (NETWORK, OPTIMIZER, REST)}
    return {**parts, "all": len(operators), "host reads": sum(operator.reads for operator in operators)}


@cache
def sample(net: str) -> Any:
    """Grey digits for the nets that are made for them, small colour pictures for the others."""
    data = (MNIST if net == "lenet5" else CIFAR10)(sample=True, batch_size=8)
    data.setup()
    return data


WAYS: dict[str, Callable[[Any, str, str], list[Operator]]] = {"bare": bare, "ours": ours}


def main(
    nets: list[str] = ["lenet5", "resnet18", "speednet"],  # noqa: B006  read only; jsonargparse shows it in --help
    optimizers: list[str] = ["sgd", "adamw", "muon"],  # noqa: B006  the same
    where: bool = False,
) -> None:
    """Counts the operators and prints the table.

    Args:
        nets: names of networks.
        optimizers: names of optimizers, each combined with each network.
        where: also print the operators that belong to neither network nor optimizer.
    """
    print("| net | optimizer | loop | forward and backward | optimizer | rest | all | host reads |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    rest: list[str] = []
    for net in nets:
        for optimizer in optimizers:
            for name, way in WAYS.items():
                operators = way(sample(net), net, optimizer)
                figures = " | ".join(map(str, count(operators).values()))
                print(f"| {net} | {optimizer} | {name} | {figures} |", flush=True)
                rest += [f"{net} {optimizer} {name}: {o.name} {o.place}" for o in operators if o.part == REST]
    if where:
        print("", *rest, sep="\n")


if __name__ == "__main__":
    auto_cli(main)
