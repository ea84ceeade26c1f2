"""What the LightningModules of all tasks share: a training step, and metrics exact over samples and devices."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from basics.errors import InputError, reading
from basics.lightning_internals import batch_in_epoch
from lit_modules.class_scores import Said
from lit_modules.heads import hidden_matrices
from lit_modules.lr_depths import groups_by_depth
from lit_modules.lr_parts import groups_of
from lit_modules.means import Means, widest
from lit_modules.metrics import build_metrics, read
from lit_modules.optimizers import OptimizerOptions, build_optimizer

if TYPE_CHECKING:
    from torchmetrics import Metric
    from typing_extensions import Self  # typing has it from Python 3.11 on

Batch = tuple[Tensor, Tensor]
Learnt = tuple[Tensor, dict[str, Tensor]]  # a batch's loss, and sums over its samples


class Stages(LightningModule, ABC):
    """Adds up what each step hands to `means[stage]`, and logs it at the stage's end as `stage/metric`.

    A subclass has a `net`, a `learn` for training, and an `_evaluate` for validation and test; its hyperparameters are
    those of the optimizer too.

    Attributes:
        metrics: what each stage logs, in the order of a report.
        options_type: the dataclass whose fields are its keyword arguments besides those in its signature.
        captured: what runs `learn` as CUDA graphs, during a training that does so.
    """

    net: nn.Module
    metrics: tuple[str, ...]
    options_type: type[OptimizerOptions] = OptimizerOptions

    def __init__(self) -> None:
        super().__init__()
        self.means = {stage: Means() for stage in ("train", "val", "test")}
        self.captured: Callable[..., Learnt] | None = None
        self.further: dict[str, dict[str, Metric]] = {}  # those of `--metrics`, of "val" and "test"

    def __setattr__(self, name: str, value: Any) -> None:
        # Lightning assigns the current hook's name some forty times a step, and nn.Module looks for parameters and
        # modules in every assignment; a string or None, in a plain attribute, needs no such search.
        if name in self.__dict__ and (value is None or type(value) is str):
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> "Self":
        """Lightning's, but nothing in the file is executed, and no address is fetched.

        Raises:
            InputError: the path is an address, which Lightning would download unchecked.
            InputFileError: it cannot be read.
        """
        kwargs.setdefault("weights_only", True)
        if "://" in str(checkpoint_path):
            raise InputError(f"{checkpoint_path}: is an address; download the file, and check it, before loading it")
        if not isinstance(checkpoint_path, str | Path):
            return super().load_from_checkpoint(checkpoint_path, *args, **kwargs)
        # By name, Lightning takes a ~ in it for the home directory.
        with reading(checkpoint_path), Path(checkpoint_path).open("rb") as file:
            return super().load_from_checkpoint(file, *args, **kwargs)

    @abstractmethod
    def learn(self, *inputs: Any, **more: Any) -> Learnt:
        """The loss of a batch as `draw` returns it, and sums over its samples for the epoch's means.

        It must use tensors only, and not look at their values: its operations are recorded once and replayed for other
        batches of the same shape (see callbacks/captured_step.py).
        """

    def _measure_also(self, names: str, num_outputs: int) -> None:
        """Adds metrics of `lit_modules.metrics`, separated by commas, to those of validation and test."""
        self.further = {stage: build_metrics(names, num_outputs) for stage in ("val", "test")}
        self.metrics = (*self.metrics, *self.further["val"])

    def _count(self, stage: str, outputs: Tensor, targets: Tensor, **sums: Tensor) -> None:
        """Adds a batch's sums to `means[stage]`, and shows its outputs to the further metrics."""
        self.means[stage].add(len(targets), **sums)
        for metric in self.further.get(stage, {}).values():
            if isinstance(metric, Said):  # also of no samples, so that all ranks have something to share
                metric.to(targets.device).update(self.exact_predictions(outputs), targets)
            elif len(targets):
                metric.to(targets.device).update(outputs, targets)

    @abstractmethod
    def _evaluate(self, stage: str, batch: Batch) -> Tensor | None:
        """Adds a batch, which may be empty on some ranks, to `means[stage]`; may return a row for each sample."""

    def _param_groups(self) -> list[Any]:
        """What the optimizer adjusts: parameters, or groups of them."""
        lr_parts, decay = self.hparams.get("lr_parts"), self.hparams.get("layer_decay", 1.0)
        if lr_parts and decay != 1:
            raise InputError(f"lr_parts {lr_parts}, layer_decay {decay}: both divide the network; use one")
        if decay != 1:
            return groups_by_depth(self.net, self.hparams["lr"], decay)
        if lr_parts:
            return groups_of(self.net, lr_parts)
        return list(self.net.parameters())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        name = self.hparams["optimizer"]
        options = {option: self.hparams[option] for option in ("lr", "momentum", "nesterov", "weight_decay")}
        hidden = hidden_matrices(self.net) if name == "muon" else []
        # Sharded weights, as with --strategy fsdp, have no fused step with sgd.
        sharded = any(hasattr(p, "full_tensor") for p in self.net.parameters())
        fused = self.device.type in ("cpu", "cuda") and not sharded
        return build_optimizer(name, self._param_groups(), **options, hidden=hidden, fused=fused)

    def summarise(self, means: dict[str, float]) -> dict[str, float]:
        """The metrics, computed from the means of what was added."""
        return means

    def draw(self, batch: Batch) -> tuple[Tensor, ...]:
        """The inputs of `learn`: a batch, and whatever is drawn or decided for it on the host."""
        return batch

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.means["train"].settle()  # a replayed step overwrites the sums of the last one
        loss, sums = (self.captured or self.learn)(*self.draw(batch))
        self.means["train"].add(len(batch[-1]), **sums)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        return self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        return self._evaluate("test", batch)

    def predict_step(self, batch: Batch | Tensor, batch_idx: int) -> Tensor:
        """What is predicted for a batch, with or without targets: probabilities of classes, numbers, or embeddings.

        Of the n processes of a `Trainer.predict` on our data, process r gets the samples r, r + n, r + 2n ...
        """
        return self.predicted(self(batch if isinstance(batch, Tensor) else batch[0]))

    def predicted(self, outputs: Tensor) -> Tensor:
        """The predictions that outputs of `forward` stand for."""
        return outputs

    @torch.no_grad()
    def exact_predictions(self, outputs: Tensor) -> Tensor:
        """The same, in the most precise type that the device has."""
        return self.predicted(outputs.to(widest(outputs.device)))

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Lightning's, but the gradient of a step is the mean over its batches even if these are fewer than usual.

        Each batch counts the same, whatever its size. Lightning has divided the loss by `accumulate_grad_batches`, but
        the last step of an epoch may have fewer batches.
        """
        if self.trainer.accumulate_grad_batches > 1:
            loss = loss * self._missing_share()
        super().backward(loss, *args, **kwargs)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Lightning's, which takes a while to find that there is nothing to clip to."""
        if gradient_clip_val:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """What `optimizer.zero_grad` does, but for its preparations, which take a tenth of a millisecond."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _missing_share(self) -> float:
        """The factor by which the gradients of this batch are too small: 1, except in a step of fewer batches."""
        usual, batches = self.trainer.accumulate_grad_batches, self.trainer.num_training_batches
        left = batches % usual
        return usual / left if batch_in_epoch(self.trainer) >= batches - left else 1.0

    def on_train_epoch_end(self) -> None:
        means, count = self.means["train"].compute(self._sum_over_ranks)
        if not count:  # all steps of the epoch were skipped
            return
        metrics = {f"train/{name}": value for name, value in self.summarise(means).items()}
        self.log_dict(metrics, logger=False)
        for logger in self.loggers:  # now: Lightning does it after the epoch's checkpoint, and a kill may come first
            logger.log_metrics({**metrics, "epoch": self.current_epoch}, step=self.global_step - 1)

    def on_validation_epoch_end(self) -> None:
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        self.log("test/samples", float(self._log_means("test")))

    def _log_means(self, stage: str) -> int:
        means, count = self.means[stage].compute(self._sum_over_ranks)
        metrics = self.summarise(means) | self._measured(stage)
        self.log_dict({f"{stage}/{name}": value for name, value in metrics.items()})
        return count

    def _measured(self, stage: str) -> dict[str, float]:
        """The further metrics of all samples, which they then forget."""
        return {name: read(name, its) for name, its in self.further.get(stage, {}).items()}

    def _sum_over_ranks(self, total: Tensor) -> Tensor:
        return self.trainer.strategy.reduce(total, reduce_op="sum")

    def forget_batch(self) -> None:
        """Removes the last batch from the means of the training."""
        self.means["train"].forget()

    # A checkpoint within an epoch keeps the sums so far; rank zero continues with those of all ranks.
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["train_means"] = self.means["train"].state_dict(self._sum_over_ranks)
        with suppress(RuntimeError):  # raised by a module without a Trainer
            checkpoint["precision"] = self.trainer.precision  # in which the figures can be computed again

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.global_rank == 0 and "train_means" in checkpoint:  # a small checkpoint has none
            self.means["train"].load_state_dict(checkpoint["train_means"])
