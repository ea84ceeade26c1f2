"""Any of torchvision's classification networks, made for ImageNet's photographs, with any number of outputs.

They come without pretrained weights, which `experiments/finetune.py torchvision:resnet18` adds.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from basics.choose import choose
from lit_modules.heads import output_layer

__all__ = ["ImageNet"]


# With auxiliary classifiers they would return a tuple in training. Their pretrained weights are for inputs in -1..1,
# which `transform_input` makes of inputs that are normalised like those of the other networks.
INCEPTION = {"weights": None, "aux_logits": False, "transform_input": True, "init_weights": True}
OPTIONS = {"googlenet": INCEPTION, "inception_v3": INCEPTION}


class ImageNet(nn.Module):
    """A network of torchvision.models behind a resizing of its input; grey images become three equal channels.

    Args:
        arch: its name in torchvision.
        size: side to which images are enlarged. The pretrained weights are for 224; less is faster.

    Raises:
        InputError: torchvision has no such network.
    """

    def __init__(self, input_shape: Sequence[int], num_outputs: int, arch: str = "resnet18", size: int = 224) -> None:
        super().__init__()
        from torchvision import models  # here, because its import takes seconds that other networks do not need

        names = {name: name for name in models.list_models(module=models)}
        options = {"image_size": size} if arch.startswith("vit_") else OPTIONS.get(arch, {})
        self.model = models.get_model(choose("arch", arch, names), num_classes=num_outputs, **options)
        self.head = f"model.{output_layer(self.model, num_outputs)}"
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        x = x.expand(-1, 3, -1, -1)  # (B, 1 or 3, H, W) -> (B, 3, H, W)
        if x.shape[-2:] != (self.size, self.size):
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=True)  # (B, 3, size, size)
        return self.model(x)  # (B, num_outputs)
