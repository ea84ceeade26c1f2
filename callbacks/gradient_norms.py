"""Gradient norms, by layer and in total, as curves."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from basics.trainer_parts import steps_between_logs


class GradientNorms(Callback):
    """Logs `gradients/<layer>` and `gradients/total`, L2 norms, every `log_every_n_steps` steps.

    Taken before the step and before any clipping; a layer is a module with parameters of its own.
    """

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        interval = steps_between_logs(trainer)
        if interval and trainer.global_step % interval == 0:
            for logger in trainer.loggers:
                logger.log_metrics(gradient_norms(pl_module), step=trainer.global_step)


def gradient_norms(module: nn.Module) -> dict[str, float]:
    """L2 norm of the gradient of each layer of `module`, and of all together."""
    layers = {name: [p.grad for p in layer.parameters(recurse=False)] for name, layer in module.named_modules()}
    layers["total"] = [p.grad for p in module.parameters()]
    gradients = {name: [grad for grad in grads if grad is not None] for name, grads in layers.items()}
    return {f"gradients/{name}": float(get_total_norm(grads)) for name, grads in gradients.items() if grads}
