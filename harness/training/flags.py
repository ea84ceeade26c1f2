"""The flags of one training: those of Lightning's Trainer, and ours."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

from lightning.fabric.plugins import CheckpointIO, ClusterEnvironment
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.plugins import LayerSync, Precision
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.strategies import Strategy

from harness.runs.invocation import Invoked

Plugin = Precision | ClusterEnvironment | CheckpointIO | LayerSync
PRECISIONS = Literal[
    "auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "transformer-engine",
    "transformer-engine-float16", 64, 32, 16, "64", "32", "16", "bf16",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainerFlags:
    """Lightning's Trainer; its documentation explains each flag in more detail.

    Args:
        accelerator: hardware to compute on: cpu, gpu, cuda, mps, tpu or auto.
        strategy: how several devices work together, such as ddp or fsdp.
        devices: number of devices, a list of their indices, or auto.
        num_nodes: number of machines.
        precision: precision of the computation, such as 32-true, bf16-mixed or 16-mixed; auto: bf16-mixed where the
            device computes in bfloat16, else 32-true; null: 32-true.
        fast_dev_run: make a dry run of that many batches, which writes nothing.
        min_epochs: least number of epochs.
        max_steps: greatest number of steps; -1: no limit.
        min_steps: least number of steps.
        max_time: longest time to train, as DD:HH:MM:SS.
        limit_train_batches: training batches in an epoch, as a number or a share.
        limit_val_batches: the same for the validation split.
        limit_test_batches: the same for the test set.
        limit_predict_batches: the same for predictions.
        overfit_batches: train on the same few batches again and again: that many, or that share of all.
        val_check_interval: how often to validate: after a share of an epoch, a number of batches, or a time.
        check_val_every_n_epoch: epochs between two validations.
        num_sanity_val_steps: validation batches to run before training starts, which show mistakes early.
        log_every_n_steps: steps between two points of the curves by step; null: 50, or fewer in a short run.
        enable_checkpointing: write checkpoints; false only in a dry run.
        enable_progress_bar: show the progress line.
        accumulate_grad_batches: batches whose gradients are combined in one step.
        gradient_clip_val: largest norm, or largest value, of the gradient.
        gradient_clip_algorithm: what to clip: norm or value.
        deterministic: use operators that give the same result each time; null: on a GPU only.
        benchmark: let cuDNN try its kernels and use the fastest.
        inference_mode: evaluate in torch's inference mode; false: with no_grad.
        profiler: simple, advanced or pytorch; shows where the time goes.
        detect_anomaly: find the operator whose gradient is not a number; slow.
        barebones: refused, since it would switch off what a run is made of.
        plugins: further plugins for the Trainer.
        sync_batchnorm: let BatchNorm normalise over the batches of all devices.
        reload_dataloaders_every_n_epochs: epochs after which the data loaders are made anew.
        default_root_dir: folder for Lightning's own files; null: the run's directory.
        enable_autolog_hparams: let Lightning log hyperparameters at the start.
        model_registry: name of a model in Lightning's registry.
    """

    accelerator: str | Accelerator = "auto"
    strategy: str | Strategy = "auto"
    devices: list[int] | str | int = "auto"
    num_nodes: int = 1
    precision: PRECISIONS | None = None
    fast_dev_run: int | bool = False
    min_epochs: int | None = None
    max_steps: int = -1
    min_steps: int | None = None
    max_time: str | timedelta | dict[str, int] | None = None
    limit_train_batches: int | float | None = None
    limit_val_batches: int | float | None = None
    limit_test_batches: int | float | None = None
    limit_predict_batches: int | float | None = None
    overfit_batches: int | float = 0.0
    val_check_interval: int | float | str | timedelta | dict[str, int] | None = None
    check_val_every_n_epoch: int | None = 1
    num_sanity_val_steps: int | None = None
    log_every_n_steps: int | None = None
    enable_checkpointing: bool | None = None
    enable_progress_bar: bool | None = None
    accumulate_grad_batches: int = 1
    gradient_clip_val: int | float | None = None
    gradient_clip_algorithm: str | None = None
    deterministic: bool | Literal["warn"] | None = None
    benchmark: bool | None = None
    inference_mode: bool = True
    profiler: str | Profiler | None = None
    detect_anomaly: bool = False
    barebones: bool = False
    plugins: Plugin | list[Plugin] | None = None
    sync_batchnorm: bool = False
    reload_dataloaders_every_n_epochs: int = 0
    default_root_dir: str | Path | None = None
    enable_autolog_hparams: bool = True
    model_registry: str | None = None


@dataclass(frozen=True, kw_only=True)
class FitFlags(TrainerFlags, Invoked):
    """One training, its checkpoints and its curves.

    Args:
        max_epochs: passes over the training split.
        seed: seed for the validation split, the initial weights, the order of batches and all random draws.
        run_dir: folder that holds all runs.
        name: a name for this run, which stands in its directory's; null: there are the flags that the recipe lacks.
        resume: run directory or checkpoint file to continue in place; auto: the newest unfinished run with these flags.
        refit: once validation has chosen the epoch, train anew on all training samples for as long, and test that too.
        doctor: look for faults in data, network and learning rate instead of training (see doctor.py).
        lr_decay: constant, step, linear, cosine, onecycle, plateau, or another of callbacks/schedules.
        warmup_epochs: epochs, or part of one, in which the learning rate rises; for onecycle, its own rise.
        lr_milestones: points at which `step` decays, as shares of the run.
        lr_step_epochs: epochs between two decays of `step`, in place of milestones; 0: at the milestones.
        lr_epochs: epochs that the schedule is made for, if the run is to end before it; null: those of the run.
        lr_gamma: factor by which `step` and `plateau` decay.
        lr_patience: validation rounds without improvement before `plateau` decays.
        early_stopping: stop after that many validation rounds without improvement; 0 is off.
        monitor: validation metric that chooses the best epoch; null: the last epoch is the model.
        monitor_mode: min or max, whichever is better; null: decided by the metric's name, low for a loss or an error.
        ema: decay of an exponential moving average of the weights, such as 0.999; the average is the model. 0 is off.
        swa: share of the run after which the weights are averaged; the average is the model. The best epoch is chosen
            after that point. 0 is off.
        log_gradients: log the gradient norm of each layer, and warn of norms above 20.
        channels_last: store images and weights with channels innermost, which speeds up convolutions; not with fsdp.
        compile: compile the network with torch.compile: true, or one of its modes, such as max-autotune.
        capture: launch each training step as CUDA graphs, with the same results; null: wherever that is possible.
        find_lr: instead of training, raise the learning rate step by step and suggest one from the loss curve.
        checkpoint_epochs: epochs between two writes of last.ckpt; the last epoch is always written.
        checkpoint_every: steps between two writes of last.ckpt within epochs; 0 is off.
        checkpoint_minutes: the same in minutes.
        on_nonfinite: stop, or skip the step, when the loss, a gradient or an input is infinite or not a number.
        pictures: at the end, draw what was learnt and where it goes wrong, in figures/ and TensorBoard.
        pictures_every: also draw from validation data each time that many epochs have passed; 0 is off.
        histograms: log histograms of each layer's weights and gradients, every epoch.
        callbacks: further callbacks, as import paths of their classes, such as lightning.pytorch.callbacks.Timer, with
            commas between them and arguments in parentheses.
        loggers: further loggers, in the same way, such as lightning.pytorch.loggers.CSVLogger.
        log_to: besides TensorBoard, log to csv, wandb or mlflow, or to several, with commas between them.
        curves_by: x-axis of the curves in TensorBoard: step, or epoch, with one point per epoch.
        stall_timeout: seconds without a finished batch after which the run ends with an error; 0: never.
    """

    max_epochs: int = 10
    seed: int = 0
    run_dir: str = "runs"
    name: str | None = None
    resume: str | None = None
    refit: bool = False
    doctor: bool = False
    lr_decay: str = "constant"
    warmup_epochs: float = 0.0
    lr_milestones: list[float] = field(default_factory=lambda: [0.5, 0.75])
    lr_step_epochs: int = 0
    lr_epochs: int | None = None
    lr_gamma: float = 0.1
    lr_patience: int = 5
    early_stopping: int = 0
    monitor: str | None = "val/acc"
    monitor_mode: str | None = None
    ema: float = 0.0
    swa: float = 0.0
    log_gradients: bool = False
    channels_last: bool = False
    compile: bool | str = False
    capture: bool | None = None
    find_lr: bool = False
    checkpoint_epochs: int = 1
    checkpoint_every: int = 0
    checkpoint_minutes: float = 0.0
    on_nonfinite: str = "stop"
    pictures: bool = True
    pictures_every: int = 0
    histograms: bool = False
    callbacks: str = ""
    loggers: str = ""
    log_to: list[str] = field(default_factory=list)
    curves_by: str = "step"
    stall_timeout: float = 1800.0

    @property
    def writes(self) -> bool:
        """Whether the training writes a run directory."""
        return not self.fast_dev_run

    @property
    def reports(self) -> bool:
        """Whether it leaves a trained model in a directory, and so has something to report."""
        return self.writes and not self.find_lr


def deciding_by_validation(flags: FitFlags) -> str:
    """The flag that needs a validation split, such as --early_stopping 5; "" if none does."""
    if flags.early_stopping:
        return f"--early_stopping {flags.early_stopping}"
    return "--lr_decay plateau" if flags.lr_decay == "plateau" else ""
