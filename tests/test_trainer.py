"""The Trainer of all scripts: what a script adds to it, and what it refuses."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from callbacks import LRDecay
from datamodules import MNIST
from experiments import mnist
from harness.tasks.classification import ImageFlags, classify
from harness.training.flags import TrainerFlags
from harness.training.trainer import Extras, build_trainer
from lit_modules import Classifier


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


def test_own_ones_come_first_and_no_logger_is_added():
    ours, theirs = Extras([LRDecay("constant")]), Extras([Notes()])
    trainer = build_trainer(TrainerFlags(accelerator="cpu"), ours=ours, theirs=theirs)
    assert [type(each) for each in trainer.callbacks if type(each) in (Notes, LRDecay)] == [Notes, LRDecay]
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


def test_predictions_of_a_trainer_are_the_outputs_for_the_test_split():
    data = MNIST(sample=True)
    model = Classifier("softmax", (1, 28, 28), 10)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    outputs = torch.cat(trainer.predict(model, data))
    images = torch.from_numpy(data.arrays.test_images)[:, None] / 255
    with torch.no_grad():
        torch.testing.assert_close(outputs, model(images))
        torch.testing.assert_close(torch.cat(trainer.predict(model, DataLoader(images, batch_size=100))), outputs)


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
