"""Captured steps against eager ones, bit for bit, under a stand-in for CUDA graphs that is as strict as a GPU."""

from itertools import product

import pytest
import torch
from strict_graphs import StrictGraphs
from torch.utils._pytree import tree_leaves

import callbacks.capture
from callbacks.captured_step import WARM_UP
from datamodules import CIFAR10, MNIST
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from lit_modules import Classifier
from lit_modules.nets import nets

GREY = ("inception_mnist", "residual_mnist", "lenet5", "linear", "softmax", "mlp")
LARGE = {
    "resnet_cifar",
    "inception_mnist",
    "residual_mnist",
    "speednet",
    "resnet18",
    "preact_resnet18",
    "densenet121",
    "googlenet",
    "resnet34",
    "resnet50",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "densenet_bc_100_12",
    "wideresnet",
    "vit",
}
SMALLER = {  # for the grid; what can go wrong in a captured step does not depend on the width
    "speednet": {"widths": [[16, 16], [32, 32], [32, 32]]},
    "vit": {"width": 48, "depth": 3},
    "wideresnet": {"depth": 10, "widen": 1},
}
BATCHES = 5  # in each of two epochs
NETS = sorted(nets().keys() - {"imagenet", "tabm"})  # a wrapper of torchvision's, and one for rows, see below
OPTIMIZERS = ("sgd", "adamw", "muon")
WAYS = {
    "clipping": {"gradient_clip_val": 0.1},
    "ema": {"ema": 0.9},
    "plateau": {"lr_decay": "plateau", "lr_patience": 0},
    "mixup": {"model": {"mixup": 0.4, "cutmix": 0.4}},
    "freeze": {"model": {"freeze_epochs": 1}},
    "backbone": {"model": {"backbone_lr": 0.001}},
}


class Steps:
    """Made where a training is captured; tells of the graphs it used."""

    def __init__(self, monkeypatch):
        self.made = []
        monkeypatch.setattr(callbacks.capture, "graphs_of", self.graphs_of)

    def graphs_of(self, trainer):
        self.made.append(StrictGraphs(trainer.lightning_module))
        return self.made[-1]

    @property
    def replays(self):
        return sum(graphs.replays for graphs in self.made)


@pytest.fixture
def steps(monkeypatch):
    return Steps(monkeypatch)


def train(folder, capture, net="lenet5", model=None, **flags):
    """The last checkpoint and the metrics of a short training."""
    torch.manual_seed(0)
    data = (MNIST if net in GREY else CIFAR10)(sample=True, batch_size=4, val_size=12)
    data.setup()
    arrays = data.arrays._replace(test_images=data.arrays.test_images[:24], test_labels=data.arrays.test_labels[:24])
    if net in LARGE - {*GREY} and "vgg" not in net:  # a quarter of the time; VGG halves the sides five times
        middle = {name: getattr(arrays, name)[:, 8:24, 8:24] for name in ("train_images", "test_images")}
        arrays, data.image_shape = arrays._replace(**middle), (16, 16, 3)
    data.arrays = arrays
    model = Classifier(net, data.input_shape, 10, data.mean, data.std, **{"lr": 0.01, **(model or {})})
    short = dict(max_epochs=2, limit_train_batches=BATCHES, limit_val_batches=2, limit_test_batches=2, pictures=False)
    quiet = dict(accelerator="cpu", devices=1, enable_progress_bar=False)
    chosen = FitFlags(run_dir=str(folder), capture=capture, **short | quiet | flags)
    metrics = fit_and_test("capture", model, data, chosen).metrics
    (file,) = folder.glob("*/*/checkpoints/last.ckpt")
    return torch.load(file, weights_only=True), metrics


def check_same(tmp_path, steps, **flags):
    eager, its_metrics = train(tmp_path / "eager", False, **flags)
    captured, metrics = train(tmp_path / "captured", True, **flags)
    assert steps.replays >= BATCHES - WARM_UP
    for part in ("state_dict", "optimizer_states", "train_means"):
        assert eager[part]
        assert_same(eager[part], captured[part])
    for name in ("test/acc", "test/loss", "steps"):
        assert metrics[name] == its_metrics[name]


def assert_same(one, other):
    """Equal in all parts, and nowhere NaN."""
    ours, theirs = tree_leaves(one), tree_leaves(other)
    assert len(ours) == len(theirs)
    for left, right in zip(ours, theirs, strict=True):
        assert torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right


@pytest.mark.parametrize("net", [pytest.param(net, marks=pytest.mark.slow) if net in LARGE else net for net in NETS])
def test_every_net_learns_the_same(net, tmp_path, steps):
    check_same(tmp_path, steps, net=net)


CASES = [*product(OPTIMIZERS, (1, 2), WAYS)]
# Each pair of an optimizer, an accumulation and a way; the grid has all threes.
PAIRS = [case for case in CASES if (OPTIMIZERS.index(case[0]) + case[1] + [*WAYS].index(case[2])) % 2]


@pytest.mark.parametrize(("optimizer", "accumulate", "way"), PAIRS)
def test_whatever_follows_the_step_is_the_same(optimizer, accumulate, way, tmp_path, steps):
    flags = dict(WAYS[way], accumulate_grad_batches=accumulate)
    check_same(tmp_path, steps, net="mlp", **flags | {"model": {**flags.get("model", {}), "optimizer": optimizer}})


def test_accumulation_that_begins_later_is_the_same(tmp_path, steps):
    scheduler = "lightning.pytorch.callbacks.GradientAccumulationScheduler({1: 3})"
    check_same(tmp_path, steps, net="mlp", callbacks=scheduler)


@pytest.mark.grid
@pytest.mark.parametrize(("optimizer", "accumulate", "way"), CASES)
@pytest.mark.parametrize("net", NETS)
def test_every_net_in_every_way_is_the_same(net, optimizer, accumulate, way, tmp_path, steps):
    batches = BATCHES if way == "freeze" else 3  # a frozen network and a learning one warm up for three steps each
    flags = dict(WAYS[way], accumulate_grad_batches=accumulate, limit_train_batches=batches)
    flags |= {"checkpoint_epochs": 2, "monitor": "val/loss" if way == "plateau" else None}  # files take long
    options = {**flags.get("model", {}), "optimizer": optimizer, "net_args": SMALLER.get(net)}
    if net == "densenet121":  # at 0.01, its statistics of so few and small images make a test loss of NaN
        options["lr"] = 0.001
    check_same(tmp_path, steps, net=net, **flags | {"model": options})
