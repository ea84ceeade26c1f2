"""Losses of a classification, compared with formulas and with gradients on paper; learning rates by parts."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from experiments import mnist
from harness.command_line.cli import cli
from lit_modules import Classifier
from lit_modules.class_losses import LOSSES, chance_level
from lit_modules.lr_parts import groups_of

torch.manual_seed(0)
LOGITS = torch.randn(7, 4, dtype=torch.float64) * 3
LABELS = torch.tensor([0, 1, 2, 3, 3, 0, 2])


def by_numpy(name, logits, labels, smoothing):
    """The mean loss, one sample and class after the other."""
    losses = []
    for row, label in zip(logits, labels, strict=True):
        shares = np.exp(row) / np.exp(row).sum()
        loss = 0.0
        for number, z in enumerate(row):
            target = (number == label) * (1 - smoothing) + smoothing / len(row)
            if name == "bce":
                p = 1 / (1 + math.exp(-z))
                loss -= target * math.log(p) + (1 - target) * math.log(1 - p)
            elif name == "mse":
                loss += (shares[number] - target) ** 2
            elif name == "focal":
                loss -= target * (1 - shares[number]) ** 2 * math.log(shares[number])
            else:
                loss -= target * math.log(shares[number])
        losses.append(loss)
    return np.mean(losses)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_is_that_of_a_loop_over_samples_and_classes(name, smoothing):
    loss = LOSSES[name](LOGITS, LABELS, label_smoothing=smoothing)
    assert float(loss) == pytest.approx(by_numpy(name, LOGITS.numpy(), LABELS.numpy(), smoothing), rel=1e-12)
    if not smoothing:
        assert float(LOSSES[name](LOGITS, LABELS, reduction="sum")) == pytest.approx(7 * float(loss), rel=1e-12)
        assert float(LOSSES[name](LOGITS[:0], LABELS[:0], reduction="sum")) == 0
        assert float(LOSSES[name](LOGITS, LABELS, reduction="none")[3]) == pytest.approx(
            by_numpy(name, LOGITS[3:4].numpy(), LABELS[3:4].numpy(), 0), rel=1e-12
        )


def _focal_slope(p):
    return 2 * p * (1 - p) * p.log() - (1 - p) ** 2


@pytest.mark.parametrize(
    ("name", "gradient"),
    [
        ("ce", lambda z, y: z.softmax(1) - y),
        ("bce", lambda z, y: z.sigmoid() - y),
        # Of -(1 - p)^2 ln p by p, times the softmax's slope p (y - p), as in Lin et al. 2017, appendix B.
        ("focal", lambda z, y: _focal_slope((z.softmax(1) * y).sum(1, True)) * (y - z.softmax(1))),
        ("mse", lambda z, y: 2 * z.softmax(1) * (z.softmax(1) - y - (z.softmax(1) * (z.softmax(1) - y)).sum(1, True))),
    ],
)
def test_gradient_is_that_on_paper(name, gradient):
    logits = LOGITS.clone().requires_grad_()
    LOSSES[name](logits, LABELS, reduction="sum").backward()
    assert torch.allclose(logits.grad, gradient(LOGITS, nn.functional.one_hot(LABELS, 4)), atol=1e-12)


def test_chance_levels():
    values = [math.log(10), 10 * math.log(2), 0.9, 0.81 * math.log(10)]
    assert [chance_level(name, 10)[0] for name in LOSSES] == pytest.approx(values)
    assert [chance_level(name, 10)[1] for name in LOSSES] == ["ln 10", "10 ln 2", "1 - 1/10", "(1 - 1/10)^2 ln 10"]


@pytest.mark.parametrize("loss", ["bce", pytest.param("mse", marks=pytest.mark.slow)])
def test_each_loss_learns_the_sample_and_predicts_probabilities(tmp_path, loss):
    flags = f"--sample --net mlp --max_epochs 4 --loss {loss} --mixup 0.2 --run_dir {tmp_path}".split()
    cli(mnist.main, mnist.RECIPES, flags)
    (run,) = tmp_path.glob("mnist/*")
    assert json.loads((run / "metrics.json").read_text())["test/acc"] > 0.8
    model = Classifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt", map_location="cpu")
    shares, powers = model.predicted(torch.tensor([[2.0, -1.0, 0.0]])), np.exp([2, -1, 0])
    expected = powers / (1 + powers) if loss == "bce" else powers / powers.sum()
    assert shares[0].tolist() == pytest.approx(list(expected), rel=1e-6)


def test_unknown_loss_is_one_line(refusal):
    assert "did you mean bce" in refusal(mnist.main, "--sample", "--loss", "bcee", recipes=mnist.RECIPES)


def test_top5_is_measured_where_there_are_more_than_ten_classes():
    few, many = (Classifier("softmax", (1, 8, 8), count) for count in (10, 11))
    assert (few.metrics, many.metrics) == (("loss", "acc"), ("loss", "acc", "top5_acc"))


def test_parts_have_their_own_rates_and_the_first_name_counts():
    net = nn.Sequential()
    net.features, net.classifier = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3)), nn.Linear(3, 1)
    groups = groups_of(net, "features.0=0.01, *bias=0.5,features=0")
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    found = [([names[id(p)] for p in group["params"]], group.get("lr")) for group in groups]
    assert found == [
        (["features.0.weight", "features.0.bias"], 0.01),
        (["features.1.bias", "classifier.bias"], 0.5),
        (["features.1.weight"], 0),
        (["classifier.weight"], None),
    ]


def test_part_with_rate_0_stays_as_it_was():
    torch.manual_seed(0)
    model = Classifier("lenet5", (1, 28, 28), 10, lr_parts="features=0", lr=0.1, momentum=0.0)
    before = {name: p.detach().clone() for name, p in model.net.named_parameters()}
    optimizer = model.configure_optimizers()
    model.learn(torch.rand(4, 1, 28, 28), torch.arange(4))[0].backward()
    optimizer.step()
    moved = {name for name, p in model.net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if not name.startswith("features")}


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ("featurs=0.1", "lr_parts featurs: no part of LeNet5 is left for it; its parts are features, classifier"),
        ("features=0.1,features.0=0.2", "lr_parts features.0: no part of LeNet5 is left"),
        ("features", "lr_parts 'features': must be a name and a learning rate"),
        ("features=-1", "lr_parts 'features=-1': must be"),
    ],
)
def test_parts_that_cannot_be_are_one_line(refusal, parts, named):
    assert named in refusal(mnist.main, "--sample", "--net", "lenet5", "--lr_parts", parts, recipes=mnist.RECIPES)
