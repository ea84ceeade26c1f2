"""Any network of the package timm by its name: `--net timm:convnext_tiny`.

timm (Wightman 2019, "PyTorch image models") has over a thousand, with weights from ImageNet and other large sets. It is
not among the requirements, and is imported only if such a network is asked for.
"""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basics.choose import nearest
from basics.errors import InputError, InputFileError
from lit_modules.heads import output_layer

PREFIX = "timm:"


class TimmNet(nn.Module):
    """A network of timm; grey images become three equal channels.

    Args:
        arch: its name in timm, with or without the tag of its weights, such as convnext_tiny.in12k_ft_in1k.
        size: side to which images are resized; 0: that of the network if it takes no other, else not at all.
        drop_path: share of the residual branches that are dropped in training (Huang et al. 2016, "stochastic depth").

    Raises:
        InputError: timm is not installed, has no such network, or that has no such option.
    """

    def __init__(
        self, arch: str, input_shape: Sequence[int], num_outputs: int, size: int = 0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        timm = _timm(arch)
        options = {"drop_path_rate": drop_path} if drop_path else {}
        try:
            self.model = timm.create_model(arch, num_classes=num_outputs, **options)
        except TypeError as error:
            raise InputError(f"net_args.drop_path {drop_path}: {arch} has no such option ({error})") from error
        config = self.model.pretrained_cfg
        self.arch, self.num_outputs = arch, num_outputs
        self.size = size or (config["input_size"][-1] if config.get("fixed_input_size") else 0)
        self.head = f"model.{output_layer(self.model, num_outputs)}"

    def forward(self, x: Tensor) -> Tensor:
        x = x.expand(-1, 3, -1, -1)  # (B, 1 or 3, H, W) -> (B, 3, H, W)
        if self.size and x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=True)  # (B, 3, size, size)
        return self.model(x)  # (B, num_outputs)

    def depths(self) -> dict[str, int]:
        """How many layers lie before that of each parameter, as timm counts them."""
        group = import_module("timm.models").group_parameters
        depths = group(self.model, self.model.group_matcher(), reverse=True)
        return {f"model.{name}": depth for name, depth in depths.items()}

    def pretrained(self, file: str = "") -> dict[str, Tensor]:
        """timm's weights by this network's names: those of a file, or from its cache, to which they are downloaded.

        Raises:
            InputFileError: they are not there.
            InputError: the file cannot be read as weights of this network.
        """
        overlay = {"file": file} if file else None
        try:
            loaded = self._again(pretrained=True, pretrained_cfg_overlay=overlay)
        except OSError as error:
            raise InputFileError(f"cannot be read or downloaded ({_first_line(error)})") from error
        except Exception as error:  # of any kind, as whatever reads the file has it
            raise InputError(f"has no weights of {self.arch} ({_first_line(error)})") from error
        fresh = self._again()  # timm does not say which tensors a file lacks
        there = {name for name, value in loaded.items() if value.ndim < 2 or not torch.equal(value, fresh[name])}
        return {f"model.{name}": value for name, value in loaded.items() if name in there}

    def _again(self, **options: Any) -> dict[str, Tensor]:
        """The weights of such a network, always from the same random ones."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return _timm(self.arch).create_model(self.arch, num_classes=self.num_outputs, **options).state_dict()


def timm_net(name: str) -> Callable[..., nn.Module]:
    """What makes the network of that name, which begins with timm:, as those of `lit_modules.nets` are made."""
    return partial(TimmNet, name.removeprefix(PREFIX))


def timm_normalisation(name: str) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation, by channel, of the images that timm's weights were trained on, if timm has some."""
    arch = name.removeprefix(PREFIX)
    config = _timm(arch).get_pretrained_cfg(arch)
    return (list(config.mean), list(config.std)) if config else None


def _timm(arch: str) -> Any:
    try:
        timm = import_module("timm")
    except ImportError as error:
        raise InputError(f"net {PREFIX}{arch}: needs the package timm: pip install timm ({error})") from error
    base = arch.partition(".")[0]
    if not timm.is_model(base):
        near = nearest(base, timm.list_models())
        hint = f"; did you mean {PREFIX}{near}?" if near else "; timm.list_models() has their names"
        raise InputError(f"net {PREFIX}{arch}: timm has no such network{hint}")
    return timm


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
