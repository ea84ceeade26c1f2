"""ProgressLine: what it writes to a file, to a terminal, and when it is off."""

import math
import re
from types import SimpleNamespace

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from basics.amounts import amount
from basics.terminal import short_number
from callbacks import ProgressLine
from callbacks.progress import fitted
from datamodules import MNIST
from lit_modules import Classifier

BATCH_SECONDS = 0.125  # by the fake clock: 64 / 0.125 = 512 samples a second


def fit(*callbacks, resume=None, **flags):
    options = dict(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False)
    trainer = Trainer(**{**options, **flags}, callbacks=list(callbacks))
    model = Classifier("softmax", (1, 28, 28), 10, lr=0.0)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)  # every loss is log(10) = 2.3026, and stays so without a learning rate
    trainer.fit(model, MNIST(sample=True), ckpt_path=resume, weights_only=True)


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Makes stdout a terminal of 100 columns, and returns a callback that ticks a fake clock."""
    clock = SimpleNamespace(now=0.0)

    class Tick(Callback):
        def on_train_batch_start(self, *args):
            clock.now += BATCH_SECONDS

    monkeypatch.setattr("callbacks.progress.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    monkeypatch.setattr("callbacks.progress.time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setenv("COLUMNS", "100")
    return Tick()


def test_file_gets_one_line_per_epoch_with_its_metrics(tmp_path, capsys):
    fit(ProgressLine(), max_epochs=3, limit_train_batches=2, logger=TensorBoardLogger(tmp_path, name="", version=""))
    out = capsys.readouterr().out
    assert "\r" not in out
    lines = [line for line in out.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    events = EventAccumulator(str(tmp_path)).Reload()
    for epoch, line in enumerate(lines):
        for name in ("train/loss", "train/acc", "val/loss", "val/acc"):
            assert f"{name} {events.Scalars(name)[epoch].value:.4f}" in line


@pytest.mark.parametrize(
    ("flags", "lines"),
    [  # of four batches an epoch
        ({"val_check_interval": 3}, ["1/2, step 3 val", "1/2 train", "2/2, step 7 val", "2/2 train"]),
        ({"val_check_interval": 2}, ["1/2, step 2 val", "1/2 train val", "2/2, step 6 val", "2/2 train val"]),
        ({"check_val_every_n_epoch": 2, "max_epochs": 3}, ["1/3 train", "2/3 train val", "3/3 train"]),
        ({"limit_val_batches": 0}, ["1/2 train", "2/2 train"]),
    ],
)
def test_figures_of_a_validation_are_shown_once_and_where_they_belong(capsys, flags, lines):
    fit(ProgressLine(), **{"max_epochs": 2, "limit_train_batches": 4, **flags})
    shown = [line.removeprefix("epoch ") for line in capsys.readouterr().out.splitlines() if line[:5] == "epoch"]
    for line, expected in zip(shown, lines, strict=True):
        place, *stages = re.split(" (?=train|val)", expected)
        assert line.startswith(f"{place}  ")
        assert [stage for stage in ("train", "val") if f"{stage}/acc" in line] == stages


def test_terminal_is_redrawn_twice_a_second(terminal, capsys):
    fit(ProgressLine(), terminal, max_epochs=1, limit_train_batches=10)
    frames = [frame for frame in capsys.readouterr().out.split("\r") if "samples/s" in frame]
    # At 0.125 s, then at the first batch from 0.625 s on, then from 1.125 s on.
    assert [re.search(r"(\d+)/10  loss", frame)[1] for frame in frames] == ["1", "5", "9"]
    assert all("loss 2.3026  512 samples/s" in frame for frame in frames)
    assert [frame.count("=") for frame in frames] == [2, 12, 21]  # of 24
    assert [re.search(r"(\d:\d\d:\d\d) left", frame)[1] for frame in frames] == ["0:00:01", "0:00:01", "0:00:00"]
    assert all(len(frame) == 99 for frame in frames)  # erases the frame before, and does not wrap


def test_epoch_line_replaces_the_drawn_one(terminal, capsys):
    fit(ProgressLine(), terminal, max_epochs=2, limit_train_batches=2)
    assert re.findall(r"\r {99}\repoch (\d/2)  train/acc", capsys.readouterr().out) == ["1/2", "2/2"]


def test_disabled_it_says_nothing(terminal, capsys):
    line = ProgressLine()
    line.disable()
    fit(line, terminal, max_epochs=2, limit_train_batches=2)
    assert capsys.readouterr().out == ""


def test_one_of_a_kind_is_said_in_the_singular(capsys):
    fit(ProgressLine(), max_epochs=1, limit_train_batches=1)
    assert capsys.readouterr().out.startswith("1 step: 1 epoch of 1 batch on 1 x cpu\n")
    said = [amount(number, "batch", "batches") for number in (0, 1, 2, 2000)]
    assert said == ["0 batches", "1 batch", "2 batches", "2,000 batches"]


def test_steps_as_the_only_limit_are_shown_without_a_number_of_epochs(capsys):
    fit(ProgressLine(), max_steps=3, limit_train_batches=2)
    assert "-1" not in capsys.readouterr().out


def test_loss_is_that_of_the_batch_also_when_accumulating(terminal, capsys):
    fit(ProgressLine(), terminal, max_epochs=1, limit_train_batches=2, accumulate_grad_batches=2)
    assert "1/2  loss 2.3026" in capsys.readouterr().out


def test_resume_in_mid_epoch_draws_on(terminal, capsys, tmp_path):
    saves = ModelCheckpoint(tmp_path, "last", every_n_train_steps=3)
    fit(saves, enable_checkpointing=True, enable_progress_bar=False, max_steps=3, limit_train_batches=10)
    fit(ProgressLine(), terminal, max_epochs=1, limit_train_batches=10, resume=tmp_path / "last.ckpt")
    out = capsys.readouterr().out
    assert re.findall(r"(\d+)/10  loss", out) == ["4", "8"]
    assert out.count("512 samples/s") == 2


@pytest.mark.parametrize(("step", "first", "total"), [(10, 4, 8), (10, 4, 10), (4, 4, 8), (3, 4, 8), (5, 4, math.inf)])
def test_no_time_is_left_where_there_is_no_step_to_take_or_to_go_by(step, first, total):
    line = ProgressLine()
    line._first_step, line._started = first, 0.0
    assert line._time_left(SimpleNamespace(global_step=step, estimated_stepping_batches=total)) == ""


def test_line_of_an_epoch_fits_the_terminal():
    usual = ["epoch 20/20", "train/acc 0.9745", "train/loss 0.0857", "val/acc 0.9931", "val/loss 0.0745"]
    whole = "  ".join([*usual, "0:00:08 left"])
    assert fitted(usual, "0:00:08 left", len(whole)) == whole
    assert fitted(usual, "0:00:08 left", len(whole) - 1) == "  ".join(usual)
    assert fitted(usual, "0:00:08 left", 80) == " ".join(usual)  # 11 + 16 + 17 + 14 + 15 columns, and 4 between
    more = [*usual, "val/top5 0.9999"]
    closer = "epoch 20/20  train/acc 0.9745 loss 0.0857  val/acc 0.9931 loss 0.0745 top5 0.9999"
    assert fitted(more, "", 83) == closer  # 11 + 28 + 40 columns, and 4 between
    assert fitted(more, "", 80) == "epoch 20/20  train/loss 0.0857  val/acc 0.9931 loss 0.0745 top5 0.9999"
    assert fitted(more, "", 60).splitlines() == [closer[:41], f"  {closer[43:]}"]
    assert fitted(["epoch 2", "train_loss 0.5", "val_loss 0.25"], "", 25).splitlines() == [
        "epoch 2  train_loss 0.5",
        "  val_loss 0.25",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9745, "0.9745"), (0, "0.0000"), (-0.0915, "-0.0915"), (2.30259, "2.3026"), (61.7346, "61.735"),
        (1234.567, "1,234.6"), (12345.6, "12,346"), (214340.0, "214,340"), (3.2e8, "3.2e+08"), (1.23e-6, "1.23e-06"),
        (math.nan, "nan"), (math.inf, "inf"),
    ],
)  # fmt: skip
def test_numbers_of_a_line_have_four_or_five_digits(value, text):
    assert short_number(value) == text


def test_bar_gives_way_to_the_figures_on_a_narrow_terminal(terminal, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    fit(ProgressLine(), terminal, max_epochs=100, max_steps=2, limit_train_batches=2)
    frames = [frame for frame in capsys.readouterr().out.split("\r") if "samples/s" in frame]
    assert frames
    for frame in frames:
        assert len(frame) == 79
        assert re.fullmatch(r"epoch 1/100 \[[= ]+\] \d/2  loss 2.3026  512 samples/s  \d:\d\d:\d\d left *", frame)


@pytest.mark.parametrize("colour", [{}, {"NO_COLOR": "1"}])
def test_no_line_has_an_escape_code(terminal, capsys, monkeypatch, colour):
    for name, value in colour.items():
        monkeypatch.setenv(name, value)
    fit(ProgressLine(), terminal, max_epochs=1, limit_train_batches=2)
    assert "\x1b" not in capsys.readouterr().out
