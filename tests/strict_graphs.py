"""A stand-in for CUDA graphs that replays on the CPU, and can do no more than a real graph.

A real graph repeats kernels on fixed memory, and nothing else. So here, too,

- only the calls of torch while recording are repeated, and none of the Python around them; recording itself has no
  effect on statistics or random numbers;
- an operator may read the graphs' own memory, their inputs, and the parameters and buffers of the module. Any other
  tensor may be freed or replaced before the replay: `StrictError` is raised;
- reading a value, or making a tensor from Python numbers, raises, as it would with a device to wait for;
- everything that a replay writes is overwritten with NaN before the next one, and so are the inputs after their last
  use, so that anything not copied in shows;
- a gradient that still occupies memory that a backward pass is about to write raises: it should have been added to.

A number that is read too late comes from another step, as on a device; comparing with an eager run shows that.
"""

from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from callbacks.operators import READS

FROM_PYTHON = ("lift_fresh", "lift_fresh_copy")  # torch.tensor(1.0), which copies from the host
FAR_OFF = 10**6  # stands for NaN where a type has none


class StrictError(RuntimeError):
    """What CUDA would refuse, or silently get wrong."""


class StrictGraph:
    """Operators with the very tensors that they read and write."""

    def __init__(self, graphs):
        self.graphs, self.calls = graphs, []

    def replay(self):
        if not self.calls:
            raise StrictError("nothing was recorded")
        self.graphs.before_replay(self)
        with torch.no_grad():
            for func, args, kwargs, results in self.calls:
                for result, again in zip(results, tensors_in(func(*args, **kwargs)), strict=True):
                    if again.shape != result.shape:
                        raise StrictError(f"{func}: its result has another shape than when it was recorded")
                    if again.data_ptr() != result.data_ptr():  # neither a view nor written in place
                        result.copy_(again)
        self.graphs.after_replay(self)


class StrictGraphs:
    """Makes graphs for one module: pairs of a forward and a backward.

    Attributes:
        replays: how many forwards there were.
    """

    def __init__(self, module):
        self.module, self.replays, self.running = module, 0, False
        self.graphs, self.inputs, self.fresh = [], [], {}  # the last by graph: what its operators have made
        self.known = set()  # storages that a graph may read

    def begin(self):
        self.running = True

    def end(self):
        self.running = False

    def new(self):
        self.graphs.append(StrictGraph(self))
        self.fresh[self.graphs[-1]] = []
        return self.graphs[-1]

    def input_like(self, tensor):
        self.inputs.append(tensor.detach().clone())
        self.known.add(storage_of(self.inputs[-1]))
        return self.inputs[-1]

    @contextmanager
    def recording(self, graph):
        kept = [*self.module.parameters(), *self.module.buffers()]
        before, random = [each.detach().clone() for each in kept], torch.get_rng_state()
        with Recorder(self, graph, {storage_of(each) for each in kept}):
            yield
        with torch.no_grad():
            for each, value in zip(kept, before, strict=True):
                if not torch.equal(each.nan_to_num(), value.nan_to_num()):  # leaves the versions that autograd compares
                    each.data.copy_(value)
        torch.set_rng_state(random)

    def before_replay(self, graph):
        if not self.running:
            raise StrictError("the training has ended")
        forward = self.graphs.index(graph) % 2 == 0
        self.replays += forward
        for each in self.fresh[graph]:
            spoil(each)
        if forward:
            for each in self.fresh[self.graphs[self.graphs.index(graph) + 1]]:
                spoil(each)
        else:
            own = {storage_of(each) for each in self.fresh[graph]}
            for parameter in self.module.parameters():
                if parameter.grad is not None and storage_of(parameter.grad) in own:
                    raise StrictError("a gradient that is kept would be overwritten")

    def after_replay(self, graph):
        if self.graphs.index(graph) % 2:
            for each in self.inputs:
                spoil(each)


class Recorder(TorchDispatchMode):
    def __init__(self, graphs, graph, kept):
        super().__init__()
        self.graphs, self.graph, self.kept = graphs, graph, kept

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func.__name__.split(".")[0], kwargs or {}
        if name in READS or name in FROM_PYTHON:
            raise StrictError(f"{name}: not permitted while a graph is recorded")
        read = {storage_of(each) for each in tensors_in((args, kwargs))}
        if not read <= self.kept | self.graphs.known:
            raise StrictError(f"{name}: reads a tensor that is no input of the graph, and no part of the module")
        result = func(*args, **kwargs)
        results = tensors_in(result)
        for each in results:
            if storage_of(each) not in read:
                self.graphs.fresh[self.graph].append(each.detach())
                self.graphs.known.add(storage_of(each))
        self.graph.calls.append((func, args, kwargs, results))
        return result


def tensors_in(value):
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def storage_of(tensor):
    return tensor.untyped_storage().data_ptr()


def spoil(tensor):
    """Fills a tensor with what shows in any use."""
    with torch.no_grad():
        if tensor.is_floating_point():
            tensor.fill_(float("nan"))
        else:
            tensor.fill_(True if tensor.dtype == torch.bool else min(FAR_OFF, torch.iinfo(tensor.dtype).max))
