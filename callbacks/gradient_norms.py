"""Gradient norms, by layer and in total, as curves, and a warning of norms that are too high."""

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from basics.trainer_parts import steps_between_logs

# A layer's gradient norm is healthy from 0 to this, by a rule of thumb. The initial weights of a 3 x 3 convolution from
# 64 to 64 channels have a norm of sqrt(128) = 11 (He et al. 2015): at a rate of 0.1, one step moves them by 18 %.
HIGHEST_HEALTHY = 20.0


class GradientNorms(Callback):
    """Logs `gradients/<layer>` and `gradients/total`, L2 norms, every `log_every_n_steps` steps.

    Taken before the step and before any clipping; a layer is a module with parameters of its own. Prints a warning when
    a layer's norm is above `HIGHEST_HEALTHY` for the first time, and at the end says at how many steps one was.
    """

    def __init__(self) -> None:
        self._looked, self._high = 0, 0  # steps that were logged, and those with a high norm

    def state_dict(self) -> dict[str, int]:
        return {"_looked": self._looked, "_high": self._high}

    def load_state_dict(self, state: dict[str, int]) -> None:
        vars(self).update(state)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        interval = steps_between_logs(trainer)
        if interval and trainer.global_step % interval == 0:
            norms = gradient_norms(pl_module)
            for logger in trainer.loggers:
                logger.log_metrics(norms, step=trainer.global_step)
            self._judge(trainer, norms)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._high and trainer.is_global_zero:
            print(f"gradient norms: above {HIGHEST_HEALTHY:g} at {self._high:,} of {self._looked:,} logged steps")

    def _judge(self, trainer: Trainer, norms: dict[str, float]) -> None:
        high = unhealthy(norms)
        if high and not self._high and trainer.is_global_zero:
            print(f"warning: step {trainer.global_step}: {_describe(high)}", flush=True)
        self._looked, self._high = self._looked + 1, self._high + bool(high)


def gradient_norms(module: nn.Module) -> dict[str, float]:
    """L2 norm of the gradient of each layer of `module`, and of all together."""
    layers = {name: [p.grad for p in layer.parameters(recurse=False)] for name, layer in module.named_modules()}
    layers["total"] = [p.grad for p in module.parameters()]
    gradients = {name: [grad for grad in grads if grad is not None] for name, grads in layers.items()}
    return {f"gradients/{name}": float(get_total_norm(grads)) for name, grads in gradients.items() if grads}


def unhealthy(norms: dict[str, float]) -> dict[str, float]:
    """The layers among `gradient_norms` whose norm is above `HIGHEST_HEALTHY` or nan."""
    layers = {name.removeprefix("gradients/"): norm for name, norm in norms.items() if name != "gradients/total"}
    return {layer: norm for layer, norm in layers.items() if not norm <= HIGHEST_HEALTHY}


def _describe(high: dict[str, float]) -> str:
    worst = max(high, key=lambda layer: high[layer])
    others = f", and {len(high) - 1} more are above too" if len(high) > 1 else ""
    return (
        f"the gradient norm of {worst} is {high[worst]:.3g}{others}; healthy is 0 to {HIGHEST_HEALTHY:g}."
        " A lower --lr, --warmup_epochs or --gradient_clip_val may help"
    )
