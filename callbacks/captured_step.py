"""The training step as CUDA graphs: recorded once for each shape of batch, then launched as a whole.

A small network's step is hundreds of kernels of a few microseconds each, which Python and torch launch one by one, more
slowly than the card runs them. A CUDA graph is the list of these kernels with their memory: one call launches them all
(Gray 2019, "Getting started with CUDA graphs"; Ng et al. 2021, "Accelerating PyTorch with CUDA graphs").

Forward and backward have a graph each. Between and after them everything works as usual: autograd hands the recorded
gradients to the parameters, so whatever scales the loss, accumulates, clips, averages or inspects gradients, or sums
them over devices, finds them where it expects them.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from basics.torch_internals import has_hooks
from callbacks.operators import operators_of

WARM_UP = 3  # eager steps of each shape first: libraries choose kernels and allocate memory in their first calls


class Learner(Protocol):
    """A module with a training step that can be recorded."""

    @property
    def learn(self) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
        """Makes a loss and sums over a batch of what the batch consists of."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def buffers(self) -> Iterator[Tensor]: ...

    def modules(self) -> Iterator[nn.Module]: ...


class Graph(Protocol):
    """What has been recorded."""

    def replay(self) -> None: ...


class Graphs(Protocol):
    """Makes graphs that share their memory."""

    def begin(self) -> None:
        """To be called before the first step."""

    def end(self) -> None:
        """To be called after the last."""

    def new(self) -> Graph: ...

    def input_like(self, tensor: Tensor) -> Tensor:
        """Memory for an input, to be filled before each replay."""

    def recording(self, graph: Any) -> AbstractContextManager[Any]:
        """Operations in this context are recorded, not run."""


class CudaGraphs:
    """Torch's graphs. One pool is enough, since no graph runs between another's forward and its backward.

    From `begin` to `end` everything runs on a stream of its own. CUDA refuses to record anything that involves the
    default stream, and the backward involves the streams of parameters' gradients for a loss that is still kept.
    """

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        self.before, self.stream = torch.cuda.current_stream(), torch.cuda.Stream()

    def begin(self) -> None:
        _switch_to(self.stream)

    def end(self) -> None:
        _switch_to(self.before)

    def new(self) -> torch.cuda.CUDAGraph:
        return torch.cuda.CUDAGraph()

    def input_like(self, tensor: Tensor) -> Tensor:
        return tensor.detach().clone()

    @contextmanager
    def recording(self, graph: torch.cuda.CUDAGraph) -> Iterator[None]:
        generator = torch.cuda.default_generators[self.stream.device_index]
        state = generator.clone_state()
        try:
            # Per thread, since others, such as NCCL's watchdog, may query the device meanwhile.
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                yield
        except Exception:
            generator.graphsafe_set_state(state)  # a failed recording leaves it unable to draw
            raise


class Recording(NamedTuple):
    """A step for one shape of batch: graphs, and the memory that they read and write."""

    forward: Graph
    backward: Graph
    inputs: list[Tensor]
    loss: Tensor
    sums: dict[str, Tensor]
    slope: Tensor  # the gradient of the loss, which is not 1 if something has scaled it
    parameters: list[Tensor]  # those that learn
    gradients: list[Tensor | None]  # theirs, in the same order


class CapturedStep:
    """Calls `module.learn(*inputs)`, eagerly at first, then as recorded graphs, with the same results bit for bit.

    The next call overwrites what it returned. A step that cannot be recorded stays eager, and a line says so: one that
    reads a number from the device or draws one on the host, whose operators differ from call to call, or whose module
    has hooks, which a graph would not call.

    Args:
        module: whose step it is.
        graphs: makes graphs.
        say: is given the line that says why a step stays eager.
    """

    def __init__(self, module: Learner, graphs: Graphs, say: Callable[[str], None] = print) -> None:
        self.module, self.graphs, self.say = module, graphs, say
        self.accumulates = False  # whether gradients of several calls are added up now
        self.recordings: dict[Any, Recording] = {}
        self.eager = False  # for good
        self._warm_ups: dict[Any, list[list[Any]]] = {}  # the operators of the eager steps, by the inputs' shapes
        self._state: Any = None
        self._parameters: list[Tensor] = []
        graphs.begin()

    def end(self) -> None:
        """Releases the graphs; no step may follow."""
        self.recordings.clear()
        self.graphs.end()

    def look_at_module(self) -> None:
        """To be called whenever the module may have changed: layers frozen, in evaluation mode, or moved in memory.

        A graph is only right for the state in which it was recorded; those of another state are dropped.
        """
        tensors = [*self.module.parameters(), *self.module.buffers()]
        places = [(tensor.data_ptr(), tensor.requires_grad) for tensor in tensors]
        state = places, [part.training for part in self.module.modules()]
        if state != self._state:
            self._state = state
            self._parameters = [each for each in self.module.parameters() if each.requires_grad]
            self.recordings.clear()
            self._warm_ups.clear()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self._state is None:
            self.look_at_module()
        shapes = tuple((each.shape, each.dtype) for each in inputs)
        if shapes not in self.recordings:
            if self.eager or not self._is_warm(shapes):
                return self._run_eagerly(shapes, inputs)
            try:
                self.recordings[shapes] = self._record(inputs)
            except RuntimeError as error:
                self._stay_eager(str(error).strip().splitlines()[0])
                return self.module.learn(*inputs)
        if self.accumulates:
            self._take_out_gradients()
        recording = self.recordings[shapes]
        for static, given in zip(recording.inputs, inputs, strict=True):
            static.copy_(given)
        return _Replay.apply(recording, *self._parameters), recording.sums

    def _take_out_gradients(self) -> None:
        """Copies gradients out of memory that the next replay writes."""
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad = parameter.grad.clone()

    def _is_warm(self, shapes: Any) -> bool:
        return len(self._warm_ups.get(shapes, [])) == WARM_UP

    def _run_eagerly(self, shapes: Any, inputs: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """A step without graphs, which is watched as long as it may yet be recorded."""
        if self.eager:
            return self.module.learn(*inputs)
        before = _host_draws(inputs)
        result, operators = operators_of(self.module.learn, *inputs)
        drew = _host_draws(inputs) != before
        warm_ups = self._warm_ups.setdefault(shapes, [])
        warm_ups.append(operators.calls)
        if len(warm_ups) == WARM_UP:
            if hooked := _with_hooks(self.module):
                self._stay_eager(f"{hooked} has a hook, which a graph would not call")
            elif operators.reads:
                self._stay_eager(f"it waits for a number from the device ({operators.reads[0]})")
            elif drew:
                self._stay_eager("it draws random numbers on the host")
            elif warm_ups[-2] != warm_ups[-1]:
                self._stay_eager("its operators differ from step to step")
        return result

    def _stay_eager(self, reason: str) -> None:
        self.eager = True
        self.recordings.clear()
        self._warm_ups.clear()
        self.say(f"capture: the step runs eagerly, for {reason}")

    def _record(self, inputs: Sequence[Tensor]) -> Recording:
        static = [self.graphs.input_like(each) for each in inputs]
        forward, backward = self.graphs.new(), self.graphs.new()
        with self.graphs.recording(forward):
            loss, sums = self.module.learn(*static)
        slope = self.graphs.input_like(torch.ones_like(loss))
        with self.graphs.recording(backward), torch.autocast(loss.device.type, enabled=False):
            # Not loss.backward(), which would do more than what is recorded: accumulation, and its hooks.
            gradients = torch.autograd.grad(loss, self._parameters, slope, allow_unused=True)
        sums = {name: value.detach() for name, value in sums.items()}
        return Recording(forward, backward, static, loss.detach(), sums, slope, list(self._parameters), list(gradients))


class _Replay(torch.autograd.Function):
    """A recorded step as a node of autograd: from the parameters to the loss."""

    @staticmethod
    def forward(ctx: Any, recording: Recording, *parameters: Tensor) -> Tensor:
        ctx.recording = recording
        recording.forward.replay()
        return recording.loss.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        recording = ctx.recording
        recording.slope.copy_(slope)
        # A parameter without a gradient takes the graph's memory as its gradient; one that was set to zero, in place of
        # None, still has it.
        for parameter, own in zip(recording.parameters, recording.gradients, strict=True):
            if parameter.grad is not None and own is not None and parameter.grad.data_ptr() == own.data_ptr():
                parameter.grad = parameter.grad.clone()
        recording.backward.replay()
        return None, *(None if each is None else each.detach() for each in recording.gradients)


def _switch_to(stream: torch.cuda.Stream) -> None:
    stream.wait_stream(torch.cuda.current_stream())
    torch.cuda.set_stream(stream)


def _host_draws(inputs: Sequence[Tensor]) -> tuple[Any, ...]:
    """The states of the host's random generators; torch's only if the inputs' device has its own."""
    numpys = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  what others draw from
    torchs = torch.get_rng_state().tolist() if inputs[0].device.type != "cpu" else None
    return random.getstate(), numpys["key"].tolist(), numpys["pos"], torchs


def _with_hooks(module: Learner) -> str:
    """The class of a module that has a hook; "" if there is none."""
    for part in module.modules():
        if has_hooks(part):
            return type(part).__name__
    return ""
