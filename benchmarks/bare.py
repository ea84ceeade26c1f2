"""A training step of torch calls alone, to measure ours against: eager, and as one CUDA graph."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything
from torch import Tensor

from datamodules import ImageData
from datamodules.batches import Images, TrainBatches
from lit_modules.nets import build_net

Step = Callable[[Tensor, Tensor], None]  # called with images and labels


def training_batches(data: ImageData, device: torch.device) -> TrainBatches:
    """One epoch of batches as in our runs, but without a Trainer. The images lie on `device`."""
    images = Images(data.arrays.train_images, data.arrays.train_labels, device)
    return TrainBatches(images, data.train_indices, data.batch_size, 0, lambda: 0, data.augmentations, epochs=1)


def bare_step(net: str, data: ImageData, precision: str, device: torch.device) -> Step:
    """Normalisation, forward, backward and SGD with Nesterov momentum; torch's defaults for everything else.

    Args:
        precision: bf16-mixed or 32-true.
    """
    seed_everything(0, verbose=False)
    torch.use_deterministic_algorithms(False)  # an earlier run of ours in this process may have set it
    torch.backends.cudnn.benchmark = False
    cast = precision == "bf16-mixed"
    layout = torch.channels_last if data.input_shape[0] > 1 else torch.contiguous_format
    model = build_net(net, data.input_shape, data.num_classes).to(device, memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    mean, std = (torch.tensor(values, device=device).view(-1, 1, 1) for values in (data.mean, data.std))

    def step(images: Tensor, labels: Tensor) -> None:
        # Without autocast's cache of weights, which a graph could not share with code outside it.
        with torch.autocast(device.type, torch.bfloat16, enabled=cast, cache_enabled=False):
            loss = F.cross_entropy(model((images - mean) / std), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def as_one_graph(step: Step, images: Tensor, labels: Tensor) -> Step:
    """The step on batches of this shape, captured; capturing takes a few steps.

    It shows what the GPU can do: the host launches one graph per step.
    """
    images, labels = images.clone(), labels.clone()  # the memory that the graph will read
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):  # creates what is made once: momentum, workspaces, a fitted first layer
            step(images, labels)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(images, labels)

    def replay(new_images: Tensor, new_labels: Tensor) -> None:
        images.copy_(new_images)
        labels.copy_(new_labels)
        graph.replay()

    replay.step = step  # keeps the weights that the graph reads and writes
    return replay


def wait(device: torch.device) -> None:
    """Waits until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
