"""Weights to start from: a checkpoint of this project, or torchvision's weights, trained on ImageNet."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from basics.errors import InputError, InputFileError, reading
from harness.processes.ranks import is_rank_zero
from harness.runs.checkpoints import find_checkpoint, read_checkpoint
from lit_modules.timm_nets import TimmNet
from lit_modules.transfer import load_backbone

TORCHVISION, TIMM = "torchvision:", "timm"
TIMM_FILES = (".safetensors", ".bin", ".pth", ".pt")  # endings of files of weights; ours end in .ckpt


def load_weights(net: nn.Module, source: str) -> None:
    """Copies to `net` the weights of `source` that fit, except for the head, and prints what was copied.

    Raises:
        InputFileError: there is no such file, or torchvision's weights could not be downloaded.
        InputError: it is not a checkpoint, or belongs to another architecture.
    """
    weights = _weights(net, source)
    try:
        transfer = load_backbone(net, weights)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    if not is_rank_zero():
        return
    sizes = {name: tensor.numel() for name, tensor in net.state_dict().items()}
    loaded = sum(sizes[name] for name in transfer.loaded)
    print(f"loaded {len(transfer.loaded)} of {len(sizes)} tensors, {loaded:,} of {sum(sizes.values()):,} numbers")
    print(f"  from {source}")
    for what, names in {"new": transfer.new, "not used": transfer.unused}.items():
        print(f"  {what}: {', '.join(names) or 'none'}")


def _weights(net: nn.Module, source: str) -> Mapping[str, Tensor]:
    if source.startswith(TORCHVISION):
        return _torchvision_weights(source)
    if isinstance(net, TimmNet) and (source == TIMM or Path(source).suffix in TIMM_FILES):
        return _timm_weights(net, source)
    return _own_weights(source)


def _timm_weights(net: TimmNet, source: str) -> Mapping[str, Tensor]:
    if source != TIMM:
        with reading(source), Path(source).open("rb"):
            pass
    try:
        return net.pretrained("" if source == TIMM else source)
    except InputError as error:
        raise type(error)(f"{source}: {error}") from error


def _own_weights(source: str) -> Mapping[str, Tensor]:
    weights = read_checkpoint(find_checkpoint(source)).content["state_dict"]
    return {name.removeprefix("net."): tensor for name, tensor in weights.items()}


def _torchvision_weights(source: str) -> Mapping[str, Tensor]:
    from torchvision.models import get_model_weights

    arch = source.removeprefix(TORCHVISION)
    try:
        weights = get_model_weights(arch).DEFAULT.get_state_dict(check_hash=True, progress=False, weights_only=True)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error
    except (OSError, RuntimeError) as error:  # no network, or not the expected file
        raise InputFileError(f"{source}: could not be downloaded ({error})") from error
    return {f"model.{name}": tensor for name, tensor in weights.items()}
