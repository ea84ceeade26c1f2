"""Every net, loss, optimizer, augmentation and task trains, validates and tests a few batches on the GPU."""

import pytest
import torch

from datamodules import CIFAR10, MNIST
from datamodules.augment import AUGMENTATIONS
from datamodules.mask_folder import MaskFolder
from experiments import table
from harness.command_line.cli import cli
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from lit_modules import Classifier
from lit_modules.embedder import Embedder
from lit_modules.losses import LOSSES
from lit_modules.nets import nets, pixel_nets
from lit_modules.optimizers import OPTIMIZERS
from lit_modules.segmenter import Segmenter

PRECISIONS = ["32-true", "bf16-mixed"]


@pytest.fixture(scope="module")
def photographs():
    data = CIFAR10(sample=True, batch_size=32)
    data.prepare_data()
    data.setup()
    return data


def steps(name, model, data, accelerator, **flags):
    """Two steps, a batch of validation and one of the test, whose losses are finite, and which change the weights."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    flags = {"fast_dev_run": 2, "enable_progress_bar": False, **flags}
    metrics = fit_and_test(name, model, data, FitFlags(accelerator=accelerator, devices=1, **flags)).metrics
    assert all(torch.tensor(value).isfinite() for key, value in metrics.items() if key.startswith(("val/", "test/")))
    after = {name: weight.detach().cpu() for name, weight in model.named_parameters()}
    assert all(weight.isfinite().all() for weight in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in after)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("net", sorted(nets()))
def test_every_net(accelerator, photographs, net, precision):
    options = {"size": 64} if net == "imagenet" else {}
    model = Classifier(net, photographs.input_shape, 10, net_args=options, lr=0.01)
    steps("nets", model, photographs, accelerator, precision=precision, channels_last=True)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("net", sorted(pixel_nets()))
@pytest.mark.parametrize("binary", [False, True])
def test_every_net_for_pixels(accelerator, net, binary, precision):
    data = MaskFolder(sample=True, augment="flip,rotate:10,noise", binary=binary)
    data.setup()
    model = Segmenter(net, data.input_shape, data.num_classes, lr=0.01, dice=1.0, binary=binary)
    steps("pixels", model, data, accelerator, precision=precision, monitor="val/iou", channels_last=True)


@pytest.mark.parametrize("options", [{"norm": norm} for norm in ("layer", "instance", "group")])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_norm(accelerator, photographs, options, precision):
    model = Classifier("resnet18", photographs.input_shape, 10, net_args=options, lr=0.01)
    steps("norms", model, photographs, accelerator, precision=precision)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(accelerator, photographs, optimizer):
    model = Classifier("cnn", photographs.input_shape, 10, optimizer=optimizer, lr=0.001, weight_decay=0.01)
    steps("optimizers", model, photographs, accelerator, precision="bf16-mixed", ema=0.9, gradient_clip_val=1.0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_on_embeddings(accelerator, tmp_path, loss, precision):
    data = MNIST(sample=True, batch_size=64)
    data.setup()
    model = Embedder("lenet5", data.input_shape, 10, loss=loss, lr=0.01)
    whole = {"fast_dev_run": False, "max_epochs": 1, "limit_train_batches": 2, "pictures": False}  # all labels are seen
    steps("losses", model, data, accelerator, precision=precision, monitor="val/map", run_dir=str(tmp_path), **whole)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation(accelerator, name):
    data = CIFAR10(sample=True, batch_size=32, augment=name)
    data.setup()
    steps("augmentations", Classifier("residual_mnist", data.input_shape, 10, lr=0.01), data, accelerator)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("net", ["linear", "mlp", "tabm"])
@pytest.mark.parametrize("options", [["--loss", "mse"], ["--loss", "huber"]])
def test_regression(accelerator, net, options, precision):
    flags = ["--accelerator", accelerator, "--devices", "1", "--precision", precision, "--fast_dev_run", "2"]
    cli(table.main, table.RECIPES, ["--sample", "--net", net, *options, *flags])  # stops at a loss that is not finite


@pytest.mark.parametrize("net", ["mlp", "tabm"])
def test_classes_of_rows(accelerator, tmp_path, net):
    rows = [f"{i / 100},{i % 7},{'abc'[i * 3 // 100]}" for i in range(100)]
    (tmp_path / "rows.csv").write_text("\n".join(["x,y,label", *rows]))
    flags = ["--accelerator", accelerator, "--devices", "1", "--fast_dev_run", "2", "--monitor", "val/acc"]
    csv = ["--csv", str(tmp_path / "rows.csv"), "--target", "label", "--task", "classification"]
    cli(table.main, table.RECIPES, ["--net", net, *csv, *flags])
