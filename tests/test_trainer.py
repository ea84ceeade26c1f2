"""The Trainer of all scripts: what a script adds to it, and what it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from callbacks import LRDecay, Throughput
from datamodules import MNIST
from experiments import mnist
from harness.tasks.classification import ImageFlags, classify
from harness.training.flags import TrainerFlags
from harness.training.trainer import Extras, build_trainer
from lit_modules import Classifier, Regressor, RowClassifier

ROOT = Path(__file__).parents[1]


class Notes(Callback):
    """Logs a metric of its own."""

    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("val/noted_error", 0.25)


def test_scripts_own_callbacks_and_logger_are_added_to_ours(tmp_path):
    flags = ImageFlags(
        net="softmax", sample=True, max_epochs=1, limit_train_batches=2, accelerator="cpu", pictures=False,
        run_dir=str(tmp_path / "runs"), monitor="val/noted_error",
    )  # fmt: skip
    classify(MNIST, flags, Extras([Notes()], [CSVLogger(tmp_path, "csv")]))
    (run,) = (tmp_path / "runs" / "mnist").iterdir()
    assert list(run.glob("events.out.tfevents.*"))
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    (table,) = tmp_path.glob("csv/*/metrics.csv")
    assert {"val/noted_error", "val/acc", "train/acc"} <= set(table.read_text().splitlines()[0].split(","))


def test_own_ones_come_first_once_the_rate_is_set_and_no_logger_is_added():
    ours, theirs = Extras([Throughput(), LRDecay("constant")]), Extras([Notes()])
    trainer = build_trainer(TrainerFlags(accelerator="cpu"), ours=ours, theirs=theirs)
    kinds = (LRDecay, Notes, Throughput)
    assert [type(each) for each in trainer.callbacks if type(each) in kinds] == [*kinds]
    assert trainer.loggers == []


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"strategy": "ddp_fork", "devices": 2}, "strategy ddp_fork: .*; ddp does"),
        ({"strategy": "ddp_notebook", "devices": 2}, "strategy ddp_notebook"),
        ({"strategy": "ddp_spawn", "devices": 2}, "strategy ddp_spawn"),
        ({"strategy": "ddp_spawn_find_unused_parameters_true", "devices": 1}, "strategy ddp_spawn_find"),
        ({"sync_batchnorm": True, "devices": 2}, "sync_batchnorm: .* GPUs only"),
        ({"accelerator": "tpu"}, "accelerator tpu: Requirement 'torch_xla"),
        ({"precision": "transformer-engine"}, "precision transformer-engine: Requirement"),
        ({"max_time": "0"}, "duration='0'"),
        ({"strategy": "none_such"}, "none_such"),
    ],
)
def test_what_no_run_can_do_is_a_value_error(flags, named):
    with pytest.raises(ValueError, match=named):
        build_trainer(TrainerFlags(**{"accelerator": "cpu", **flags}))


def test_batch_norm_of_one_device_needs_no_sync():
    assert build_trainer(TrainerFlags(accelerator="cpu", devices=1, sync_batchnorm=True)).world_size == 1


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_single_process_that_takes_itself_for_a_further_one_is_told_so(refusal, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    monkeypatch.setattr("harness.command_line.cli._launcher_ends", lambda: False)  # it would wait for one
    assert variable in refusal(mnist.main, "--sample", "--net", "softmax", "--accelerator", "cpu", "--devices", "1")


ALONE = dict(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False)


def test_predictions_of_a_trainer_are_the_probabilities_of_the_test_images_in_their_order():
    data = MNIST(sample=True)
    model = Classifier("cnn", (1, 28, 28), 10)  # with BatchNorm, which differs in training
    trainer = Trainer(**ALONE)
    predicted = torch.cat(trainer.predict(model, datamodule=data))
    images = torch.from_numpy(data.arrays.test_images)[:, None] / 255
    with torch.no_grad():
        shares = model.eval()(images).double().exp()
    torch.testing.assert_close(predicted.double(), shares / shares.sum(1, keepdim=True), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(torch.cat(trainer.predict(model, DataLoader(images, batch_size=100))), predicted)


@pytest.mark.parametrize(
    ("model", "of_output"),
    [(RowClassifier("tabm", (6,), 3), torch.exp), (Regressor("linear", (6,), mean=5.0, std=2.0), torch.Tensor.double)],
)
def test_predictions_for_rows_are_probabilities_or_the_target_itself(model, of_output):
    rows = torch.rand(7, 6)
    predicted = torch.cat(Trainer(**ALONE).predict(model, DataLoader(rows, batch_size=3)))
    with torch.no_grad():
        torch.testing.assert_close(predicted, of_output(model.eval()(rows)))
    if isinstance(model, RowClassifier):
        torch.testing.assert_close(predicted.sum(1), torch.ones(7))


ON_TWO = """
import sys, torch
from lightning.pytorch import Trainer
from datamodules import MNIST
from lit_modules import Classifier
torch.manual_seed(0)
trainer = Trainer(accelerator="cpu", devices=int(sys.argv[1]), logger=False, enable_progress_bar=False)
parts = trainer.predict(Classifier("mlp", (1, 28, 28), 10), datamodule=MNIST(sample=True))
torch.save(torch.cat(parts), f"{sys.argv[2]}/{trainer.global_rank}_of_{trainer.world_size}.pt")
"""


@pytest.mark.slow
def test_each_of_two_processes_predicts_every_second_sample(tmp_path):
    (tmp_path / "predicts.py").write_text(ON_TWO)
    for devices in ("1", "2"):
        command = [sys.executable, "predicts.py", devices, str(tmp_path)]
        subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, timeout=300)
    whole, even, odd = (torch.load(tmp_path / name) for name in ("0_of_1.pt", "0_of_2.pt", "1_of_2.pt"))
    assert len(whole) == 360
    assert torch.equal(torch.stack([even, odd], dim=1).flatten(0, 1), whole)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--precision", "transformer-engine"], "precision transformer-engine: "),
        (["--limit_train_batches", "0.01"], "limit_train_batches 0.01: of 24 batches"),  # 1,293 images, by 56
        (["--augment", "grow:20"], "augment grow:20"),
    ],
)
def test_doctor_says_in_a_line_what_no_run_can_do(refusal, flags, named):
    lenet = ["--net", "lenet5", "--batch_size", "56", "--accelerator", "cpu"]
    assert named in refusal(mnist.main, "--sample", "--doctor", *lenet, *flags)
