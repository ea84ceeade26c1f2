"""The doctor: healthy recipes are ok, and each planted fault shows up in its own line and no other."""

import math
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from datamodules import MNIST, samples
from datamodules.sample_tables import wine
from experiments import doctor, mnist
from harness.checking import data_checks, examination
from harness.checking.examination import check_rate
from harness.checking.findings import Finding
from harness.checking.model_checks import check_input, check_units, twin_of
from harness.training.lr_finder import MEMORY, single_losses, smooth
from lit_modules import Classifier
from lit_modules import nets as package

ROOT = Path(__file__).parents[1]
GREY = (1, 28, 28)
QUICK = ["--sample", "--accelerator", "cpu"]


@pytest.fixture
def examine(capsys, monkeypatch):
    """A function from a command line to its exit status and the lines that say `look here`, by their names."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", list(sys.argv))  # which doctor sets
        with pytest.raises(SystemExit) as stop:
            doctor.main([*args])
        run.output = capsys.readouterr().out
        lines = run.output.splitlines()
        looks = [line[11:31].strip() for line in lines if line.startswith("look here")]
        assert any(line.startswith("ok ") for line in lines) or looks
        assert stop.value.code == (1 if looks else 0)
        return looks

    return run


def plant(monkeypatch, **changed):
    """Makes the embedded digits have these arrays in place of their own."""
    monkeypatch.setattr(MNIST, "make_sample", staticmethod(lambda: samples.digits()._replace(**changed)))


@pytest.mark.parametrize(
    "command",
    [
        ["mnist.py", "--net", "mlp"],
        ["experiments/cifar10.py", "--net", "lenet5"],
        ["table", "--net", "tabm"],
    ],
)
def test_healthy_recipe_is_ok(examine, command):
    assert examine(*command, *QUICK) == []


@pytest.mark.parametrize("more", [[], ["--val_size", "0", "--monitor", "null"]])
def test_table_without_test_rows_is_looked_at_as_far_as_it_goes(examine, tmp_path, more):
    path = tmp_path / "wine.csv"
    wine().cells.to_csv(path, index=False)
    flags = ["--csv", str(path), "--target", "class", "--task", "classification", "--folds", "0", "--test_size", "0"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        examine("table.py", *flags, *more, "--net", "linear", "--accelerator", "cpu", "--max_steps", "5")
    assert "nan" not in examine.output and "5 steps in" in examine.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "net"),
    [
        *(("mnist", net) for net in mnist.RECIPES),
        *(("fashion_mnist", net) for net in ("softmax", "lenet5", "cnn")),
        *(("cifar10", net) for net in ("softmax", "mlp", "lenet5", "cnn", "speednet", "resnet18", "vgg11")),
        *(("cifar100", net) for net in ("softmax", "cnn")),
        *(("own_images", net) for net in ("cnn",)),
        *(("table", net) for net in ("linear", "mlp", "tabm")),
        ("metric_learning", "cnn"),
    ],
)
def test_every_healthy_recipe_is_ok(examine, monkeypatch, script, net):
    monkeypatch.setattr(examination, "LR_SECONDS", 0.0)  # the fewest steps, as on the slowest machine
    assert examine(script, "--net", net, *QUICK, "--precision", "32-true") == []


def test_learning_rate_a_thousand_times_too_high(examine):
    assert examine("mnist.py", *QUICK, "--net", "lenet5", "--lr", "100") == ["learning rate"]


@pytest.mark.parametrize(("net", "flags"), [("lenet5", ["--lr", "4"]), ("mlp", ["--optimizer", "adam", "--lr", "0.1"])])
def test_learning_rate_beyond_divergence_for_descent_and_for_adaptive_optimizers(examine, net, flags):
    assert examine("mnist.py", *QUICK, "--net", net, *flags) == ["learning rate"]


def test_learning_rate_that_is_usual_for_another_optimizer_than_the_recipes(examine):
    assert examine("mnist.py", *QUICK, "--net", "mlp", "--optimizer", "adam") == []


def test_learning_rate_that_gets_nowhere(examine):
    assert examine("mnist.py", *QUICK, "--net", "lenet5", "--lr", "1e-6") == ["learning rate"]


def test_test_images_that_are_in_training(examine, monkeypatch):
    digits = samples.digits()
    images, labels = digits.test_images.copy(), digits.test_labels.copy()
    images[:30], labels[:30] = digits.train_images[:30], digits.train_labels[:30]
    plant(monkeypatch, test_images=images, test_labels=labels)
    assert examine("mnist.py", *QUICK, "--net", "softmax") == ["duplicates"]


def test_equal_images_with_different_labels(examine, monkeypatch):
    digits = samples.digits()
    images, labels = digits.test_images.copy(), digits.test_labels.copy()
    images[1], labels[:2] = images[0], [3, 5]
    plant(monkeypatch, test_images=images, test_labels=labels)
    assert examine("mnist.py", *QUICK, "--net", "softmax") == ["contradictions"]


def test_rare_class(examine, monkeypatch):
    digits = samples.digits()
    common = np.flatnonzero(digits.train_labels != 7)
    few = np.flatnonzero(digits.train_labels == 7)[:30]
    rows, test = np.sort([*common, *few]), np.flatnonzero(digits.test_labels != 7)
    test = np.sort([*test, *np.flatnonzero(digits.test_labels == 7)[:8]])
    plant(monkeypatch, train_images=digits.train_images[rows], train_labels=digits.train_labels[rows],
          test_images=digits.test_images[test], test_labels=digits.test_labels[test])  # fmt: skip
    assert examine("mnist.py", *QUICK, "--net", "softmax") == ["class balance"]
    said = " ".join(examine.output.split())
    assert "or --class_weights balanced or --balanced_sampling or --loss focal; --monitor val/balanced_acc" in said
    assert examine("mnist.py", *QUICK, "--net", "softmax", "--class_weights", "balanced") == []


def test_test_split_of_other_shares(examine, monkeypatch):
    digits = samples.digits()
    of_class = [np.flatnonzero(digits.test_labels == label) for label in range(10)]
    rows = np.concatenate([part[: 30 if label < 4 else 3] for label, part in enumerate(of_class)])
    plant(monkeypatch, test_images=digits.test_images[rows], test_labels=digits.test_labels[rows])
    assert examine("mnist.py", *QUICK, "--net", "softmax") == ["shares of classes"]


def test_label_that_is_no_class_ends_the_examination(examine, monkeypatch):
    labels = samples.digits().test_labels.copy()
    labels[5] = 10
    plant(monkeypatch, test_labels=labels)
    assert examine("mnist.py", *QUICK, "--net", "softmax") == ["labels"]


def test_class_that_is_missing_in_a_split():
    labels = np.repeat(np.arange(4), 25)
    splits = {name: data_checks.Split(np.arange(100), labels) for name in ("training", "validation", "test")}
    assert data_checks.check_classes(splits, "abcd").ok
    splits["test"] = data_checks.Split(np.arange(75), labels[:75])
    finding = data_checks.check_classes(splits, "abcd")
    assert (finding.ok, finding.found) == (False, "d is missing in test")


def test_shares_of_a_random_split_are_within_chance():
    rng = np.random.default_rng(0)
    for classes in (2, 10, 100):
        for _ in range(50):
            labels = rng.integers(classes, size=3000)
            train, val, test = (data_checks.Split(part, part) for part in np.split(labels, [2000, 2200]))
            splits = {"training": train, "validation": val, "test": test}
            assert data_checks.check_shares(splits, classes).ok


def test_input_that_is_not_normalised(examine, monkeypatch):
    def setup(self, stage=None):
        original(self, stage)
        self.mean, self.std = [0.0], [1.0]

    original = MNIST.setup
    monkeypatch.setattr(MNIST, "setup", setup)
    assert examine("mnist.py", *QUICK, "--net", "lenet5") == ["network's input"]


def test_input_is_measured_by_channel():
    torch.manual_seed(0)
    images = torch.rand(200, 3, 8, 8)  # mean 1/2 and variance 1/12, of each channel
    right = Classifier("linear", (3, 8, 8), 4, [0.5] * 3, [12**-0.5] * 3)
    wrong = Classifier("linear", (3, 8, 8), 4, [0.5] * 3, [12**-0.5, 12**-0.5, 0.01])
    assert check_input(right, images, slice(None)).ok
    finding = check_input(wrong, images, slice(None))
    assert not finding.ok
    assert "std 28.8" in finding.found or "std 28.9" in finding.found


def test_augmentation_that_leaves_the_range(examine, monkeypatch):
    original = MNIST.train_dataloader

    def train_dataloader(self):
        self.augmentations = [lambda images, moment: images + 0.2]
        return original(self)

    monkeypatch.setattr(MNIST, "train_dataloader", train_dataloader)
    assert examine("mnist.py", *QUICK, "--net", "lenet5") == ["augmented images"]


NETS = """
import torch
from torch import nn
__all__ = ["dying", "unreached", "shuffled", "loud"]

class dying(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.hidden, self.output = nn.Linear(784, 100), nn.Linear(100, num_outputs)
        self.hidden.bias.data[:60] = -1000.0

    def forward(self, x):
        return self.output(self.hidden(x.flatten(1)).relu())

class unreached(nn.Linear):
    def __init__(self, input_shape, num_outputs):
        super().__init__(784, num_outputs)
        self.forgotten = nn.Linear(4, 4)

    def forward(self, x):
        return super().forward(x.flatten(1))

class shuffled(nn.Linear):
    def __init__(self, input_shape, num_outputs):
        super().__init__(784, num_outputs)

    def forward(self, x):
        return super().forward(x.flatten(1)[torch.randperm(len(x))] if self.training else x.flatten(1))

class loud(nn.Linear):
    def __init__(self, input_shape, num_outputs):
        super().__init__(784, num_outputs)

    def forward(self, x):
        return 8 * super().forward(x.flatten(1))
"""


@pytest.fixture
def faulty_nets(tmp_path, monkeypatch):
    (tmp_path / "faults_brought_by_a_test.py").write_text(NETS)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(package, "_files", package._files.__wrapped__)


@pytest.mark.parametrize(
    ("net", "line"),
    [
        ("dying", "dead units"),
        ("unreached", "gradients"),
        ("shuffled", "32 samples by heart"),
        ("loud", "initial loss"),
    ],
)
def test_fault_of_a_net_is_told_by_its_line(examine, faulty_nets, net, line):
    assert examine("mnist.py", *QUICK, "--net", net, "--lr", "0.005") == [line]


def test_dead_units_are_counted_in_modules_and_functions(faulty_nets):
    torch.manual_seed(0)
    batch = torch.rand(64, *GREY), torch.zeros(64, dtype=torch.long)
    finding = check_units(Classifier("dying", GREY, 10), [batch, batch])
    assert "of 100 ReLU units never active on 128 samples" in finding.found
    assert 60 <= int(finding.found.split()[0]) < 80
    cnn = Classifier("cnn", GREY, 10)
    cnn.net.features[1].bias.data[:5] = -100.0  # the shift of five of the 32 first maps
    assert check_units(cnn, [batch]).found.startswith("5 of 352 ReLU units")


def test_the_model_stays_as_it_was():
    model = Classifier("cnn", GREY, 10, mixup=0.2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batch = torch.rand(8, *GREY), torch.zeros(8, dtype=torch.long)
    check_units(model, [batch])
    check_input(model, batch[0], slice(None))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training and model.mixes
    assert not twin_of(model).net.classifier[3].training  # dropout


def test_fingerprints_are_equal_for_equal_samples_alone():
    images = np.random.default_rng(0).integers(0, 256, (500, 4, 4, 3), dtype=np.uint8)
    images[300] = images[7]
    keys = data_checks.fingerprints(images)
    assert keys[300] == keys[7]
    assert len(np.unique(keys)) == 499


def test_single_losses_undo_the_means_of_lightnings_tuner():
    losses, mean, averaged = np.random.default_rng(0).uniform(1, 3, 60), 0.0, []
    for step, loss in enumerate(losses, 1):  # as its callback does
        mean = MEMORY * mean + (1 - MEMORY) * loss
        averaged.append(mean / (1 - MEMORY ** (step + 1)))
    np.testing.assert_allclose(single_losses(np.array(averaged), np.arange(1, 61)), losses)


def test_smoothing_keeps_lines_and_bounds_what_diverges():
    line = np.linspace(3, 2, 41)
    np.testing.assert_allclose(smooth(line, 2.0)[10:-10], line[10:-10], atol=1e-6)
    assert smooth(np.array([2.0, 1.0, np.nan, 1e9]), 0.01).tolist() == [2.0, 1.0, 4.0, 4.0]


def test_rates_that_are_ok_lie_between_next_to_nothing_and_divergence():
    rates = np.logspace(-5, 1, 101)
    losses = 2.3 / (1 + (rates / 0.01) ** 2) + np.where(rates > 0.5, 100 * (rates - 0.5), 0)  # falls at 0.01
    ok = [check_rate(lr, rates, losses).ok for lr in (5e-5, 5e-4, 0.01, 0.5, 0.6)]  # 1.5 x 2.3 is at 0.53
    assert ok == [False, True, True, True, False]
    bump = losses + np.where(abs(np.log10(rates) + 1) < 0.3, 9, 0)  # at 0.05 to 0.2, and it comes back
    assert check_rate(0.4, rates, bump).ok and not check_rate(0.6, rates, bump).ok
    slow = losses + np.where(rates > 0.1, 1.2 * losses[0], 0)  # as of adam
    assert check_rate(0.2, rates, slow).ok and not check_rate(0.2, rates, slow, 1.1).ok
    assert not check_rate(9.0, rates[:60], losses[:60]).ok  # the test was stopped at 0.3
    assert not check_rate(0.1, rates, losses * np.nan).ok
    falling = check_rate(20.0, rates, losses[0] - np.log(rates))
    assert not falling.ok and "does not diverge up to 10" in falling.found


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        ([], 2, "usage: python experiments/doctor.py"),
        (["--help"], 0, "usage: python experiments/doctor.py"),
        (["mnost.py"], 2, "mnost.py: no such script; did you mean mnist.py?"),
        (["mnost"], 2, "mnost.py: no such script; did you mean mnist.py?"),
        (["mnist.py", "--net", "lenet6"], 2, "did you mean lenet5"),
        (["house_prices.py", "--sample"], 2, "doctor: is for a single training; add --folds 0"),
    ],
)
def test_wrong_command_lines(args, status, said, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    with pytest.raises(SystemExit) as stop:
        doctor.main([*args, *(["--sample"] if args and args[0] == "mnist.py" else [])])
    assert stop.value.code == status
    out, err = capsys.readouterr()
    assert said in out + err


def test_script_may_import_from_its_own_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine_alone.py").write_text("ANSWER = 42\n")
    (tmp_path / "train.py").write_text("import sys\nimport mine_alone\nprint(mine_alone.ANSWER, *sys.argv[1:])\n")
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    doctor.main([str(tmp_path / "train.py"), "--lr", "1"])
    assert capsys.readouterr().out == "42 --lr 1 --doctor\n"


@pytest.mark.parametrize(
    ("epochs", "steps", "accumulate", "length"),
    [
        (3, -1, 1, ("3 epochs", 30)),
        (3, 50, 1, ("3 epochs", 30)),
        (3, 10, 2, ("10 steps", 20)),
        (-1, 50, 1, ("50 steps", 50)),
        (-1, -1, 1, ("a run without an end", math.inf)),
    ],
)
def test_run_is_as_long_as_its_epochs_or_its_steps(epochs, steps, accumulate, length):
    trainer = SimpleNamespace(
        max_epochs=epochs, max_steps=steps, num_training_batches=10, accumulate_grad_batches=accumulate
    )
    assert examination._length(trainer) == length


@pytest.mark.slow
def test_it_leaves_nothing_behind_and_its_status_is_the_process_s(tmp_path):
    command = [
        sys.executable,
        str(ROOT / "experiments" / "doctor.py"),
        "mnist.py",
        *QUICK,
        "--net",
        "softmax",
    ]
    done = subprocess.run([*command, "--lr", "500"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1].endswith("to look at")
    assert not list(tmp_path.iterdir())


def test_long_finding_goes_on_below_where_it_began():
    finding = Finding("shares of classes", True, "other by 12.6% in validation, 7.1% in test", "at most 39.9%, 25.2%")
    lines = finding.within(80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].startswith(" " * 32) and lines[0][32] == "o"
    assert " ".join(" ".join(lines).split()) == " ".join(str(finding).split())
    assert finding.within(1000) == str(finding)
