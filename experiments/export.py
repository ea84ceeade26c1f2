"""A trained network as one file: ONNX or torch.export, which need nothing of this project, or a small checkpoint.

    python experiments/export.py runs/mnist/<run>                               its best.ckpt becomes best.onnx
    python experiments/export.py runs/cifar10/<run> --format torch              best.pt2
    python experiments/export.py runs/cifar10/<run> --format small              best.small.ckpt, to share or to keep
    python experiments/export.py model.ckpt --output model.onnx --force         replaces an existing file

    session = onnxruntime.InferenceSession("best.onnx")
    probabilities, logits = session.run(None, {"images": images})     # torch.export.load("best.pt2").module()(images)

The file takes any number of images as they are decoded, uint8: (B, H, W) grey or (B, H, W, 3) RGB, of the size the
network was trained for. Scaling and normalisation are inside, and the mean over mirror images of `--test_flip`. It
gives float32:

    classes, several labels    probabilities and logits, (B, classes) or (B, labels)
    metric_learning.py         embeddings, (B, size)
    segmentation.py            masks, uint8, (B, H, W), of the numbers of classes, and logits, (B, classes, H, W)
    a number for each image    numbers, (B,)

Names of classes or labels, net and input are in its metadata: `session.get_modelmeta().custom_metadata_map`, or
metadata.json in the .pt2.

Before it gets its name, the file is loaded again and compared with the checkpoint on real images, in batches of several
sizes. The images are from the run's test set if its data are at hand, otherwise from the embedded sample. The export is
refused, and no file is left, if the file's logits, embeddings or numbers differ from the checkpoint's by more than 1e-4
of the largest of them, or if its probabilities or masks are not those that follow from its own logits.

A small checkpoint has the weights in float16 and nothing that only training needs; all tools here take it. Its logits
may differ by 1e-2 of the largest.
"""

import io
import json
import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from basics.choose import choose
from basics.errors import InputError, writing
from basics.files import check_free
from datamodules import ImageData
from harness.command_line.cli import cli
from harness.runs.checkpoints import Checkpoint, find_checkpoint, read_checkpoint
from harness.tasks.small_checkpoint import write_small
from harness.tasks.trained import load_data, load_model, real_images
from lit_modules import Classifier
from lit_modules.image_regressor import ImageRegressor
from lit_modules.image_tagger import ImageTagger
from lit_modules.segmenter import Segmenter
from lit_modules.stages import Stages

TOLERANCE = 1e-4  # of the largest value of each output; float32 rounds large ones more coarsely
HALF_TOLERANCE = 1e-2  # the same of weights in float16, each of which is off by up to 5e-4 of itself
OPSET = 20  # the newest that torch's exporter writes without converting
BATCH = 64  # images to compare at a time, after batches of 1, 2 and 7

logging.getLogger("torch.fx.experimental.symbolic_shapes").setLevel(logging.ERROR)  # of untraceable networks
Predict = Callable[[Tensor], list[Tensor]]  # images to outputs


OUTPUTS: dict[type[Stages], tuple[str, ...]] = {
    Classifier: ("probabilities", "logits"),
    ImageTagger: ("probabilities", "logits"),
    Segmenter: ("masks", "logits"),
    ImageRegressor: ("numbers",),
}


class FromBytes(nn.Module):
    """A model between the scaling of images, uint8, (B, H, W) or (B, H, W, 3), and the softmax."""

    def __init__(self, model: Stages) -> None:
        super().__init__()
        self.model = model
        self.outputs = next((names for kind, names in OUTPUTS.items() if isinstance(model, kind)), ("embeddings",))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)  # (B, C, H, W)
        outputs = self.model(images.float() / 255).float()  # numbers are float64
        return (self.conclude(outputs), outputs) if len(self.outputs) == 2 else (outputs,)

    def conclude(self, logits: Tensor) -> Tensor:
        """The first output, as it follows from the second."""
        return self.model.classify(logits).byte() if isinstance(self.model, Segmenter) else self.model.predicted(logits)

    @property
    def decision(self) -> str:
        """What follows from the outputs of an image; "" if nothing does."""
        if "numbers" in self.outputs:
            return ""
        return "mask" if "masks" in self.outputs else "class, or largest output,"

    def decisions(self, outputs: list[Tensor]) -> Tensor:
        """The largest output of each image, (B, 1), its mask, (B, H * W), or nothing, (B, 0)."""
        if not self.decision:
            return outputs[0][:, None][:, :0]
        return outputs[0].flatten(1) if "masks" in self.outputs else outputs[-1].argmax(1, keepdim=True)


def main(checkpoint: str, format: str = "onnx", output: str = "", force: bool = False, images: int = 1000) -> None:
    """Writes a trained network to a file, with its preprocessing, and checks it against the checkpoint.

    Args:
        checkpoint: run directory, or checkpoint file.
        format: onnx; torch for torch.export; or small for a checkpoint of half precision without the optimizer's state.
        output: the file to write; empty: beside the checkpoint, as .onnx, .pt2 or .small.ckpt.
        force: replace an existing file.
        images: how many to compare the outputs on.
    """
    kind = choose("format", format, FORMATS)
    if images < 1:
        raise InputError(f"images {images}: must be at least 1")
    source = find_checkpoint(checkpoint)
    target = Path(output) if output else source.with_suffix(kind.suffix)
    if format == "torch" and target.suffix != kind.suffix:
        raise InputError(f"output {target}: torch.export insists on files that end in {kind.suffix}")
    check_free(target, force, [source], "the checkpoint itself")
    read = read_checkpoint(source)
    model = _load_image_model(read)
    pixels, what = real_images(_data_of(read), model.hparams["input_shape"], images)
    module, examples = FromBytes(model).eval(), torch.tensor(pixels)  # a copy: a memory-mapped array is read-only
    trained = Trained(read, module, examples)

    unfinished = target.with_name(f".unfinished.{target.name}")  # torch.export.save insists on .pt2
    try:
        with writing(target):
            unfinished.touch()  # torch has errors of its own for what cannot be written
            kind.write(trained, unfinished)
        differences, same = compare(module, kind.load(unfinished), examples)
        for name, apart in differences.items():
            if not apart.absolute <= kind.tolerance * apart.largest:  # NaN must not pass either
                limit = f"more than {kind.tolerance:g} of it; no file is left"
                raise InputError(f"{target}: {name} differ from the checkpoint's by up to {apart}, {limit}")
        with writing(target):
            unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    all_apart = "; ".join(f"{name} {difference}" for name, difference in differences.items())
    print(f"compared with {source} on {len(examples):,} {what}")
    decided = f"; the {module.decision} is the same for {same:,}" if module.decision else ""
    print(f"largest differences: {all_apart}{decided}")
    print(f"{target}: {model.hparams['net']}, {target.stat().st_size / 1e6:.2f} MB; {trained.metadata['input']}")


def _load_image_model(read: Checkpoint) -> Stages:
    if "preprocessing" in read.content["hyper_parameters"]:
        raise InputError(f"{read.path}: was trained on a table, not on images; predict_table.py uses it")
    return load_model(read).eval()


def _data_of(read: Checkpoint) -> ImageData | None:
    """The data set named in the checkpoint, not yet read; None if it names none."""
    try:
        data = load_data(read)
    except InputError:
        return None
    return data if isinstance(data, ImageData) else None


class Trained(NamedTuple):
    """What is exported, and images to try it on, uint8."""

    read: Checkpoint
    module: FromBytes
    examples: Tensor

    @property
    def metadata(self) -> dict[str, str]:
        options = self.module.model.hparams
        channels, height, width = options["input_shape"]
        shape = f"(B, {height}, {width})" if channels == 1 else f"(B, {height}, {width}, {channels})"
        return {
            "net": options["net"],
            "net_args": json.dumps(options["net_args"] or {}),
            "input": f"images: uint8, {shape}, {'grey' if channels == 1 else 'RGB'}, 0 to 255",
            "outputs": ", ".join(self.module.outputs),
            # In the order of the outputs; empty: not known.
            "classes": json.dumps(options.get("classes") or options.get("labels") or []),
            "mean": json.dumps(options["mean"]),  # of values in 0..1; for information, since the file applies it itself
            "std": json.dumps(options["std"]),
            "checkpoint": self.read.path.name,
        }


def _trace(module: FromBytes, images: Tensor) -> ExportedProgram:
    """The computation as a graph, for any number of images."""
    two = images[[0, -1]]  # with one image, torch would take the batch size for a constant
    try:
        with redirect_stderr(io.StringIO()):  # a failed export prints the graph so far
            return torch.export.export(module, (two,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"net {module.model.hparams['net']}: torch.export cannot follow its forward ({reason})"
        ) from error


def _write_onnx(trained: Trained, path: Path) -> None:
    program = _trace(trained.module, trained.examples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnxscript's, about itself
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, verbose=False, dynamic_shapes=({0: "batch"},),
            input_names=["images"], output_names=list(trained.module.outputs),
        )  # fmt: skip
    assert exported is not None  # as it is of `dynamo` only
    exported.model.metadata_props.update(trained.metadata)
    exported.save(path, external_data=False)


def _load_onnx(path: Path) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: [torch.from_numpy(output) for output in session.run(None, {"images": images.numpy()})]


def _write_torch(trained: Trained, path: Path) -> None:
    program = _trace(trained.module, trained.examples)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No complete tensor found")  # said of tensors that are views
        torch.export.save(program, path, extra_files={"metadata.json": json.dumps(trained.metadata)})


def _load_torch(path: Path) -> Predict:
    module = torch.export.load(path).module()
    return lambda images: list(module(images))


def _write_small(trained: Trained, path: Path) -> None:
    write_small(trained.read, path)


@torch.no_grad()
def _load_small(path: Path) -> Predict:
    module = FromBytes(load_model(read_checkpoint(path))).eval()
    return lambda images: list(module(images))


class Format(NamedTuple):
    """How a kind of file is written and read again, and how far its outputs may be off, as a share of the largest."""

    suffix: str
    write: Callable[[Trained, Path], None]
    load: Callable[[Path], Predict]
    tolerance: float = TOLERANCE


FORMATS = {
    "onnx": Format(".onnx", _write_onnx, _load_onnx),
    "torch": Format(".pt2", _write_torch, _load_torch),
    "small": Format(".small.ckpt", _write_small, _load_small, HALF_TOLERANCE),
}


class Difference(NamedTuple):
    """The largest absolute difference of an output, and its largest absolute value."""

    absolute: float
    largest: float

    def __str__(self) -> str:
        share = self.absolute / self.largest if self.largest else self.absolute
        return f"{self.absolute:.2g}, {share:.2g} of the largest, {self.largest:.3g}"


@torch.no_grad()
def compare(module: FromBytes, exported: Predict, images: Tensor) -> tuple[dict[str, Difference], int]:
    """The largest difference of each output, and the number of images for which both decide the same.

    Probabilities are compared with those of the file's own logits: if these are large and two of them close,
    their rounding alone changes the probabilities. So are masks.
    """
    differences, largest, same = np.zeros(len(module.outputs)), np.zeros(len(module.outputs)), 0
    edges = [1, 3, 10, *range(10 + BATCH, len(images), BATCH)]
    for chunk in filter(len, images.tensor_split(edges)):
        ours, theirs = list(module(chunk)), exported(chunk)
        same += int((module.decisions(ours) == module.decisions(theirs)).all(1).sum())
        if len(ours) == 2:
            ours[0] = module.conclude(theirs[1])
        apart = [float((our.float() - their.float()).abs().max()) for our, their in zip(ours, theirs, strict=True)]
        differences = np.maximum(differences, apart)  # NaN wins over a number
        largest = np.maximum(largest, [float(our.abs().max()) for our in ours])
    return dict(zip(module.outputs, map(Difference, differences, largest), strict=True)), same


if __name__ == "__main__":
    cli(main)
