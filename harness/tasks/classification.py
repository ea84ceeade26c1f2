"""Image classification: the flags that mnist.py, fashion_mnist.py, cifar10.py, cifar100.py and own_images.py share."""

from collections.abc import Callable
from typing import Any

from lightning.pytorch import seed_everything

from datamodules import ImageData
from harness.training.fit import fit_and_test
from harness.training.pretrained import load_weights
from lit_modules import Classifier

# The literature's networks on 32 x 32 photographs: He et al. 2016's rates and penalties with a cosine, softened
# targets and cutout. They want an accelerator.
LARGE_NETS = (
    *("vgg11", "vgg13", "vgg16", "vgg19", "googlenet", "resnet18", "resnet34", "resnet50", "preact_resnet18"),
    *("densenet121", "densenet_bc_100_12"),
)
LARGE_RECIPE: dict[str, Any] = dict(
    lr=0.1,
    batch_size=128,
    max_epochs=100,
    lr_decay="cosine",
    warmup_epochs=1,
    weight_decay=5e-4,
    label_smoothing=0.1,
    augment="crop:4,flip,cutout:8",
    channels_last=True,
    precision="bf16-mixed",
)


def classify(
    dataset: Callable[..., ImageData],
    net: str,
    *,
    net_args: dict[str, Any] | None = None,
    lr: float = 0.05,
    batch_size: int = 64,
    max_epochs: int = 10,
    seed: int = 0,
    optimizer: str = "sgd",
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 0.0,
    l1: float = 0.0,
    label_smoothing: float = 0.0,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    test_flip: bool = False,
    init_from: str | None = None,
    backbone_lr: float | None = None,
    freeze_epochs: int = 0,
    augment: str = "",
    val_size: float = 0.1,
    data_dir: str = "data",
    sample: bool = False,
    **flags: Any,
) -> dict[str, Any]:
    """Trains the network called `net` on `dataset`, tests its best epoch, and returns the metrics.

    Args:
        net: name of the network, one of lit_modules/nets.
        net_args: options of the network, such as --net_args.dropout 0.2.
        lr: initial, or with onecycle highest, learning rate.
        batch_size: images per device and step.
        max_epochs: passes over the training split.
        seed: of the validation split, the initial weights, the order of batches and all random draws.
        optimizer: sgd, momentum, nesterov, rmsprop, adam, adamw, adagrad, adadelta or muon (lit_modules/optimizers.py).
        momentum: of sgd, momentum, nesterov, rmsprop and muon.
        nesterov: whether sgd's momentum is Nesterov's.
        weight_decay: factor of the L2 penalty; of decoupled weight decay with adamw and muon.
        l1: factor of the L1 penalty.
        label_smoothing: share of each target that is spread over all classes.
        mixup: alpha of mixup: training images are weighted means of two; 0 is off.
        cutmix: alpha of CutMix: a rectangle of each training image is another's; 0 is off.
        test_flip: in evaluation, average the network's outputs for each image and its mirror image.
        init_from: checkpoint, run directory or torchvision:NAME whose weights to start from, all but the head's.
        backbone_lr: learning rate of all but the head, which has `lr`; null: the same.
        freeze_epochs: epochs at the start in which only the head learns.
        augment: augmentations of the training images, such as crop:4,flip (see datamodules/augment.py).
        val_size: size of the validation split, as a share of the training files if below 1, else in images.
        data_dir: folder that holds the data sets; what is missing is downloaded to it.
        sample: use the embedded sample, which needs no files.
    """
    seed_everything(seed, verbose=False)
    data = dataset(data_dir, batch_size, seed, val_size, augment, sample)
    data.prepare_data()
    data.setup()
    model = Classifier(
        net,
        data.input_shape,
        data.num_classes,
        data.mean,
        data.std,
        net_args=net_args,
        lr=lr,
        optimizer=optimizer,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        l1=l1,
        label_smoothing=label_smoothing,
        mixup=mixup,
        cutmix=cutmix,
        test_flip=test_flip,
        backbone_lr=backbone_lr,
        freeze_epochs=freeze_epochs,
        classes=list(data.classes),
    )
    if init_from and flags.get("resume") in (None, "auto"):
        load_weights(model.net, init_from)
    return fit_and_test(data.name, model, data, max_epochs=max_epochs, seed=seed, **flags)
