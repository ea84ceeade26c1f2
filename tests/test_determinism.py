"""No training step has an operator that is not deterministic on CUDA.

The tests look at the operators that a step dispatches to on the CPU, or on torch's meta device, which computes nothing.
This shows that no step asks for an operator that torch refuses or replaces on CUDA, except those in `REPEATED`. It does
not show that there are no others on CUDA, which uses other operators for some functions (cudnn_batch_norm for
native_batch_norm, native_dropout for bernoulli and mul), and it trusts cuDNN and cuBLAS to do what torch asks of them.
If there is a GPU, tests/accelerator compares the weights of two runs.
"""

import pytest
import torch
import torch.nn.functional as F
from net_checks import SHAPES
from nondeterministic import REFUSED, REPLACED, documented, operators
from torch import nn
from torch.utils.tensorboard import SummaryWriter

import lit_modules.nets as package
from callbacks.operators import operators_of
from datamodules import MNIST
from datamodules.augment import AUGMENTATIONS, Moment, parse_augmentations
from datamodules.mask_folder import MaskFolder
from harness.tasks.launch import fit_and_test
from harness.training.flags import FitFlags
from lit_modules import Classifier, Regressor, RowClassifier, mix
from lit_modules.embedder import Embedder
from lit_modules.losses import LOSSES
from lit_modules.nets import nets, pixel_nets
from lit_modules.nets.speednet import Whitening
from lit_modules.optimizers import OPTIMIZERS
from lit_modules.segmenter import Segmenter

COLOUR, GREY = SHAPES
# Operators that torch replaces by ones that repeat themselves, and why they may be in a training step.
REPEATED = {
    "convolution": "cuDNN is told to choose among the algorithms that repeat themselves",
    "convolution_backward": "the same",
    "index_put": "the backward pass of taking rows, in losses of pairs: sorted, and added in order",
    "index_add": "the sums that move the centres of the center loss: added in order",
}
WHOLE = ("bincount", "cumsum")  # in figures by class, of counts alone: the order in which these are added is nothing


def unrepeated(step, *args):
    """The operators of `step(*args)` that do not repeat themselves, and have no reason to be there."""
    _, asked = operators_of(step, *args)
    names = {name.removesuffix("_") for name, _ in asked.calls}
    assert names
    return (names & operators(REFUSED | REPLACED)) - set(REPEATED)


def trained(model, batch):
    """A function that trains the model by two steps: the first makes the optimizer's state."""
    optimizer = model.configure_optimizers()

    def steps():
        for _ in range(2):
            model.training_step(batch, 0).backward()
            optimizer.step()
            optimizer.zero_grad()

    return steps


def test_tables_have_all_that_torch_documents():
    refused, replaced = documented()
    assert len(refused) > 20
    assert refused <= set(REFUSED)
    assert replaced <= set(REFUSED | REPLACED)


def test_reasons_are_for_operators_that_torch_replaces():
    assert set(REPEATED) <= operators(REPLACED)
    assert not set(REPEATED) & operators(REFUSED)


EMBEDDED = {"numbers": 2, "linear_path": True}
WITH_OPTIONS = [
    *((name, {}) for name in sorted(nets())),
    ("speednet", {"residual": True}),
    *(("resnet18", {"norm": norm}) for norm in ("layer", "instance", "group")),
    *(("mlp", {"norm": norm}) for norm in ("batch", "layer")),
    ("mlp", {"activation": "selu", "dropout": 0.1}),
    ("tabm", {"embedding": "periodic", **EMBEDDED}),
    ("tabm", {"embedding": "piecewise", "bins": [[0.0, 1.0, 2.0], [0.0, 1.0]], **EMBEDDED}),
]


def on_meta(name, **options):
    """A classifier and a batch, both without values."""
    with torch.device("meta"):
        model = Classifier(name, COLOUR, 10, net_args=options).train()
        for module in model.modules():
            if isinstance(module, Whitening):
                module.fitted = True  # as after the first batch, for no values can be looked at
        return model, (torch.rand(4, *COLOUR), torch.zeros(4, dtype=torch.long))


@pytest.mark.parametrize(("name", "options"), WITH_OPTIONS)
def test_every_net(name, options):
    assert not unrepeated(trained(*on_meta(name, **options)))


@pytest.mark.parametrize("name", sorted(pixel_nets()))
@pytest.mark.parametrize("options", [{}, {"dice": 1.0}, {"binary": True, "dice": 1.0}])
def test_every_net_for_pixels(name, options):
    with torch.device("meta"):
        model = Segmenter(name, COLOUR, 2, **options).train()
        batch = torch.rand(4, *COLOUR), torch.zeros(4, *COLOUR[1:], dtype=torch.uint8)
    assert not unrepeated(trained(model, batch))


def test_usual_losses_of_pixels_are_found():
    """Why Segmenter does not give class numbers to torch's cross-entropy."""
    logits, masks = torch.rand(2, 3, 8, 8, requires_grad=True), torch.zeros(2, 8, 8, dtype=torch.long)
    assert "nll_loss2d_forward" in unrepeated(lambda: F.cross_entropy(logits, masks).backward())


class Pooled(nn.Module):
    """Means over parts of an image, whose backward pass adds to a pixel from several of them."""

    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 8, 3), nn.Linear(8 * 49, num_outputs)

    def forward(self, x):
        return self.linear(F.adaptive_avg_pool2d(self.convolution(x), 7).flatten(1))


@pytest.mark.parametrize("arch", [None, "vgg11"])
def test_a_net_with_such_an_operator_is_found(monkeypatch, arch):
    everything = nets() | {"pooled": Pooled}
    monkeypatch.setattr(package, "nets", lambda: everything)
    model, batch = on_meta("imagenet", arch=arch, size=64) if arch else on_meta("pooled")
    assert unrepeated(trained(model, batch)) == {"_adaptive_avg_pool2d_backward"}


def test_whitening_of_the_first_batch():
    torch.manual_seed(0)
    model = Classifier("speednet", COLOUR, 10, net_args={"widths": [[4, 4]]})
    assert not unrepeated(trained(model, (torch.rand(8, *COLOUR), torch.arange(8))))
    assert model.net.whitening.fitted


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer):
    model = Classifier("lenet5", GREY, 10, optimizer=optimizer, weight_decay=0.01)
    assert not unrepeated(trained(model, (torch.rand(8, *GREY), torch.arange(8))))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [8, 64])  # torch computes distances of few rows in another way
def test_every_loss_on_embeddings(loss, size):
    model = Embedder("lenet5", GREY, 10, loss=loss)
    assert not unrepeated(trained(model, (torch.rand(size, *GREY), torch.arange(size) % 4)))


@pytest.mark.parametrize("mining", ["hard", "semihard"])
def test_every_choice_of_triplets(mining):
    model = Embedder("lenet5", GREY, 10, loss="triplet", loss_args={"mining": mining})
    assert not unrepeated(trained(model, (torch.rand(8, *GREY), torch.arange(8) % 4)))


@pytest.mark.parametrize("options", [{"l1": 1e-4}, {"label_smoothing": 0.1}, {"mixup": 0.2, "cutmix": 1.0}])
def test_penalties_and_mixes_of_a_classifier(options):
    model = Classifier("lenet5", GREY, 10, **options)
    assert not unrepeated(trained(model, (torch.rand(8, *GREY), torch.arange(8))))


@pytest.mark.parametrize("mixed", [mix.mixup, mix.cutmix])
def test_every_mix(mixed):
    assert not unrepeated(mixed, torch.rand(4, *COLOUR), 1.0)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_augmentation(name):
    (augment,) = parse_augmentations(name)
    assert not unrepeated(augment, torch.rand(4, *COLOUR), Moment(torch.arange(4), 0, 4))


def test_masks_that_are_augmented_and_evaluated():
    data = MaskFolder(sample=True, batch_size=4, augment="flip,rotate:10,noise")
    data.setup()
    model = Segmenter("unet", data.input_shape, data.num_classes, net_args={"widths": [4, 8]})
    assert not unrepeated(lambda: model._evaluate("val", next(iter(data.train_dataloader()))))


@pytest.mark.parametrize("net", ["linear", "mlp", "tabm"])
@pytest.mark.parametrize("options", [{"loss": "mse"}, {"loss": "huber", "log_target": True}])
def test_regression(net, options):
    model = Regressor(net, (6,), **options)
    assert not unrepeated(trained(model, (torch.rand(8, 6), 1 + torch.rand(8))))


@pytest.mark.parametrize("net", ["softmax", "mlp", "tabm"])
def test_classes_of_rows(net):
    model = RowClassifier(net, (6,), 3)
    assert not unrepeated(trained(model, (torch.rand(8, 6), torch.arange(8) % 3)))


@pytest.mark.parametrize(
    "model",
    [
        lambda: Classifier("lenet5", GREY, 10, test_flip=True, freeze_epochs=1, backbone_lr=0.01),
        lambda: Embedder("softmax", GREY, 10, loss="center"),
    ],
)
def test_whole_runs_with_their_callbacks_and_evaluation(tmp_path, monkeypatch, model):
    data = MNIST(sample=True, augment="crop:2")
    data.setup()  # statistics of the pixels are counted on the CPU wherever training is
    model = model()
    monkeypatch.setattr(SummaryWriter, "add_graph", lambda *_: None)  # torch draws none where operators are noted

    def run():
        flags = FitFlags(
            run_dir=str(tmp_path), accelerator="cpu", max_epochs=1, limit_train_batches=3,
            monitor=f"val/{'acc' if isinstance(model, Classifier) else 'map'}", ema=0.9, log_gradients=True,
            lr_decay="cosine", gradient_clip_val=1.0, log_every_n_steps=1, accumulate_grad_batches=2, pictures=False,
        )  # fmt: skip
        fit_and_test("mnist", model, data, flags)

    assert not unrepeated(run) - {*WHOLE}
