"""The flags of one training: Lightning's Trainer's, and ours."""

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
    "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "transformer-engine",
    "transformer-engine-float16", 64, 32, 16, "64", "32", "16", "bf16",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainerFlags:
    """Lightning's Trainer, whose documentation says more of each.

    Args:
        accelerator: what to compute on: cpu, gpu, cuda, mps, tpu or auto.
        strategy: how several devices work together, such as ddp or fsdp.
        devices: how many, a list of their numbers, or auto.
        num_nodes: machines.
        precision: of the computation, such as 32-true, bf16-mixed or 16-mixed.
        fast_dev_run: a dry run of that many batches, which writes nothing.
        min_epochs: to train at least.
        max_steps: to train at most; -1: no end.
        min_steps: to train at least.
        max_time: to train at most, as DD:HH:MM:SS.
        limit_train_batches: batches of an epoch, or a share of them.
        limit_val_batches: the same of the validation split.
        limit_test_batches: the same of the test set.
        limit_predict_batches: the same of a prediction.
        overfit_batches: train on that many batches, or that share of them, again and again.
        val_check_interval: validate after each share of an epoch, or that many batches, or a time.
        check_val_every_n_epoch: validate after every that many epochs.
        num_sanity_val_steps: validation batches before training starts, which show mistakes early.
        log_every_n_steps: steps from one point of the curves of steps to the next; null: 50, or fewer in a short run.
        enable_checkpointing: write checkpoints.
        enable_progress_bar: show the line of progress.
        accumulate_grad_batches: batches whose gradients make one step.
        gradient_clip_val: the largest norm, or value, of the gradient.
        gradient_clip_algorithm: norm or value.
        deterministic: use operators that give the same result each time; null: on a GPU.
        benchmark: let cuDNN try its kernels and take the fastest.
        inference_mode: evaluate in torch's inference mode; false: with no_grad.
        profiler: simple, advanced or pytorch, which tell where the time goes.
        detect_anomaly: look for the operator that made a gradient not a number; slow.
        barebones: Lightning without all that costs time, to measure with.
        plugins: further plugins of the Trainer's.
        sync_batchnorm: let BatchNorm see the batches of all devices.
        reload_dataloaders_every_n_epochs: make the loaders again after that many epochs.
        default_root_dir: where Lightning keeps files of its own; null: the run's directory.
        enable_autolog_hparams: let Lightning log hyperparameters at the start.
        model_registry: name of a model in a Lightning registry.
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
        seed: of the validation split, the initial weights, the order of batches and all random draws.
        run_dir: where runs are kept.
        resume: run directory or checkpoint file to continue in place; auto: the newest unfinished run with these flags.
        doctor: instead of training, look for what may be wrong with data, network and learning rate (see doctor.py).
        lr_decay: constant, step, linear, cosine, onecycle or plateau.
        warmup_epochs: epochs, or a part of one, in which the learning rate rises; in onecycle, its own rise.
        lr_milestones: when `step` decays, as shares of the run.
        lr_gamma: factor of a decay by `step` or `plateau`.
        lr_patience: validation rounds without improvement that `plateau` waits for.
        early_stopping: stop after that many validation rounds without improvement; 0 is off.
        monitor: validation metric that chooses the best epoch; null: the last epoch is the model.
        monitor_mode: min or max, which is better; null: by the metric's name, a loss or an error being better low.
        ema: decay of an exponential moving average of the weights, such as 0.999, which is then the model; 0 is off.
        swa: share of the run after which the weights are averaged, and the average is the model; 0 is off. The best
            epoch is chosen after it.
        log_gradients: log the gradient norm of each layer.
        channels_last: keep images and weights with the channels innermost, which convolutions like; not with fsdp.
        compile: compile the network with torch.compile; true, or one of its modes, such as max-autotune.
        capture: launch each training step as CUDA graphs, with the same results; null: where that can be done.
        find_lr: instead of training, let the learning rate grow, and suggest one from the curve of the loss.
        checkpoint_epochs: epochs from one writing of last.ckpt to the next; the last epoch is written anyway.
        checkpoint_every: steps from one writing of last.ckpt to the next, within epochs; 0 is off.
        checkpoint_minutes: the same in minutes.
        on_nonfinite: stop, or skip the step, where the loss, a gradient or an input is infinite or not a number.
        pictures: draw what was learnt, and where it is wrong, in figures/ and TensorBoard, at the end.
        pictures_every: draw after every that many epochs too, from validation data; 0 is off.
        histograms: add histograms of weights and gradients, by layer, for each epoch.
        curves_by: x-axis of the curves in TensorBoard: step, or epoch, with a point for each.
        stall_timeout: seconds without the end of a batch after which the run ends with an error; 0: never.
    """

    max_epochs: int = 10
    seed: int = 0
    run_dir: str = "runs"
    resume: str | None = None
    doctor: bool = False
    lr_decay: str = "constant"
    warmup_epochs: float = 0.0
    lr_milestones: list[float] = field(default_factory=lambda: [0.5, 0.75])
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
    curves_by: str = "step"
    stall_timeout: float = 1800.0

    @property
    def writes(self) -> bool:
        """Whether the training writes a run's directory."""
        return not self.fast_dev_run

    @property
    def reports(self) -> bool:
        """Whether it ends with a trained model in a directory, of which more can be told."""
        return self.writes and not self.find_lr
