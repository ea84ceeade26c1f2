"""Labels and probabilities, numbers, or masks, for your own image files, from a checkpoint.

    python experiments/predict.py runs/own_images/<run> photo.jpg other.png
    python experiments/predict.py runs/cifar10/<run> folder --output labels.csv --skip_bad
    python experiments/predict.py runs/mnist/<run> scans                 digits; dark ink on white paper too
    python experiments/predict.py runs/own_images/<run> folder --explain  which places of the images spoke for the label
    python experiments/predict.py runs/segmentation/<run> plots          masks, in predictions/

Writes a row for each file to predictions.csv, and to predictions.png a sheet of the images as the network sees them; a
second call to predictions-2.csv and predictions-2.png. With --explain there is predictions_why.png too, with maps by
Grad-CAM and by occlusion.
Files may be of any size and kind that own_images.py takes, and are prepared as they are there. For a network of grey
images, those whose background is dark where that of its training images was light, or the other way round, are
inverted. For a network trained on MNIST, each digit is resized and centred like MNIST's; if it was trained with
`--sample`, resized like the sample's (datamodules/handwriting.py has the rules, and what they achieve). A network for
segmentation sees the whole image, stretched to a square, and its mask has the size of the file again; the table says
which share of it each class has.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL.Image import Image

from basics.amounts import amount
from basics.choose import choose
from basics.errors import InputError, MissingFileError, reading
from basics.files import check_free, unused
from datamodules.listing import files_below, naming, printable
from harness.command_line.cli import cli
from harness.drawing.figures import save_figures
from harness.drawing.prediction_sheet import draw_sheet
from harness.runs.checkpoints import Checkpoint, find_checkpoints, read_checkpoint
from harness.tasks.decisions import Decision, decision_for
from harness.tasks.image_evidence import check_explains, explain_images
from harness.tasks.image_prediction import Predictions, names_of, of_sample_digits, predict_files, reader_of
from harness.tasks.mask_prediction import check_masks_folder, predict_masks
from harness.tasks.prediction_files import write_predictions
from harness.tasks.target_prediction import Told, told_of, write_told
from harness.tasks.trained import load_data, load_model
from lit_modules import Classifier
from lit_modules.image_regressor import ImageRegressor
from lit_modules.image_tagger import ImageTagger
from lit_modules.segmenter import Segmenter

PRINTED = 10  # rows at most
PREDICTIONS = Path("predictions.csv")
SWITCH = {"auto": None, "yes": True, "no": False}


def main(
    checkpoint: str,
    files: list[str],
    output: str | None = None,
    invert: str = "auto",
    centred: str = "auto",
    skip_bad: bool = False,
    explain: bool = False,
    threshold: float | None = None,
    force: bool = False,
) -> None:
    """Writes a CSV file with the label and the class probabilities of each image, and a sheet of images.

    Args:
        checkpoint: run directory, or checkpoint file.
        files: image files, and folders, which are searched to any depth.
        output: the CSV file; the sheet is written beside it, as .png, and masks in a folder of the same name. null:
            predictions.csv, or if there is one, predictions-2.csv and so on.
        invert: exchange light and dark: yes, no, or auto: grey images whose background is not like that in training.
        centred: resize and centre the ink of grey images like MNIST's: yes, no, or auto: if the network was trained on
            MNIST or its sample; for the sample, like its own digits.
        skip_bad: skip files that cannot be read as images, instead of ending with an error.
        explain: also write a sheet that shows which places spoke for the label: Grad-CAM and occlusion.
        threshold: of two classes, name the second class from this probability on; null: the one that the run's
            validation chose, or of folds 0.5.
        force: replace the files of an earlier call.
    """
    inverts, centres = choose("invert", invert, SWITCH), choose("centred", centred, SWITCH)
    table = Path(output) if output else PREDICTIONS if force else unused(PREDICTIONS, [".png"])
    sheet = table.with_suffix(".png")
    why = table.with_name(f"{table.stem}_why.png") if explain else None
    paths = list(dict.fromkeys(path for name in files for path in _find(name)))  # without duplicates
    _check_outputs(table, [sheet, *([why] if why else [])], paths, force)
    all_read = [read_checkpoint(path) for path in find_checkpoints(checkpoint)]
    sources = [each.path for each in all_read]
    models, read = [load_model(each) for each in all_read], all_read[0]
    model = models[0]
    if isinstance(model, Segmenter):
        _refuse_switches(inverts, centres, explain or None, threshold)
        _segment(model, paths, table, skip_bad, force)
        return
    if not isinstance(model, Classifier | ImageRegressor | ImageTagger):
        raise InputError(f"{read.path}: holds a {type(model).__name__}, not a classifier of images or of their pixels")
    if why:
        check_explains(model)
    decision = decision_for(sources, names_of(model) if isinstance(model, Classifier) else [], threshold)
    predictions = predict_files(models, paths, reader_of(read, model, inverts, centres), skip_bad)
    if isinstance(model, ImageRegressor | ImageTagger):
        _tell(table, sheet, told_of(model, predictions.values), predictions)
    else:
        classifiers = [each for each in models if isinstance(each, Classifier)]
        _tell_classes(Files(table, sheet, why), classifiers, predictions, decision)
    if of_sample_digits(read):
        print(_warn_of_sample(read))
    folds = f", the mean of {len(models)} folds' models" if len(models) > 1 else ""
    written = ", ".join(str(path) for path in (table, sheet, why) if path)
    print(f"{len(predictions.paths):,} predictions by {model.hparams['net']}{folds}: {written}")


def _tell(table: Path, sheet: Path, told: Told, predictions: Predictions) -> None:
    """Writes and prints what there is to say of files without classes."""
    files = [printable(path) for path in predictions.paths]
    write_told(table, sheet, files, predictions, told)
    width = max(map(len, files[:PRINTED]))
    for file, caption in zip(files[:PRINTED], told.captions, strict=False):
        print(f"{file:<{width}}  {caption}")
    if len(files) > PRINTED:
        print(f"... and {len(files) - PRINTED:,} more")
    print(told.summary)
    if predictions.bad:
        print(f"{naming(predictions.bad)}; left out")


class Files(NamedTuple):
    """What is written."""

    table: Path
    sheet: Path
    why: Path | None


def _tell_classes(files: Files, models: Sequence[Classifier], predictions: Predictions, decision: Decision) -> None:
    """Writes and prints the classes of files."""
    names = names_of(models[0])
    _write(files, names, predictions, decision)
    if files.why:
        figure = explain_images(models, _shown(predictions), names, decision.threshold)
        save_figures({files.why.stem: figure}, files.why.parent)
    _print_table(names, predictions, decision)


def _refuse_switches(*switches: bool | float | None) -> None:
    if any(switch is not None for switch in switches):
        raise InputError("--invert, --centred, --explain, --threshold: are for networks that classify whole images")


def _segment(model: Segmenter, paths: Sequence[Path], table: Path, skip_bad: bool, force: bool) -> None:
    """Writes a mask for each file, and says so."""
    if not table.suffix:
        raise InputError(f"--output {table}: is the name of the masks' folder; let the table end in .csv")
    check_masks_folder(table.with_suffix(""), paths, force)
    count, bad = predict_masks(model, paths, table, skip_bad)
    if bad:
        print(f"{naming(bad)}; left out")
    masks = amount(count, "mask")
    print(f"{masks} by {model.hparams['net']}: {table.with_suffix('')}, {table}, {table.with_suffix('.png')}")


def _warn_of_sample(read: Checkpoint) -> str:
    data = load_data(read)
    data.setup()
    count = f"{len(data.train_indices):,} digits"
    return f"trained on the embedded sample of {count}; train on MNIST for digits of your own"


def _check_outputs(table: Path, sheets: Sequence[Path], images: Sequence[Path], force: bool) -> None:
    if table in sheets:
        raise InputError(f"--output {table}: is the name of the sheet; let the table end in .csv")
    for path in (table, *sheets):
        check_free(path, force, images, "one of the images")


def _find(name: str) -> list[Path]:
    """The file with that name, or the files in the folder.

    Raises:
        MissingFileError: there is none.
    """
    path = Path(name)
    with reading(name):
        found = list(files_below(path)) if path.is_dir() else [path]
        if not found or not path.exists():
            reason = "no files in this folder" if path.is_dir() else "no such file or folder"
            raise MissingFileError(f"{name}: {reason}")
    return found


def _write(to: Files, names: Sequence[str], predictions: Predictions, decision: Decision) -> None:
    shares, said = predictions.values, decision.of(predictions.values)
    columns = {"label": np.array(names)[said], "probability": shares[np.arange(len(said)), said].round(6)}
    columns |= {f"p({name})": share.round(6) for name, share in zip(names, shares.T, strict=True)}
    files = [printable(path) for path in predictions.paths]
    write_predictions(to.table, "file", np.array(files), columns)
    figure = draw_sheet(_shown(predictions), names, len(files), decision.threshold)
    save_figures({to.sheet.stem: figure}, to.sheet.parent)


def _shown(predictions: Predictions) -> dict[str, tuple[Image, np.ndarray]]:
    """The images on the sheet, with their probabilities, by file."""
    rows = predictions.shown.items()
    return {printable(predictions.paths[row]): (image, predictions.values[row]) for row, image in rows}


def _print_table(names: Sequence[str], predictions: Predictions, decision: Decision) -> None:
    files, shares = [printable(path) for path in predictions.paths], predictions.values
    width, label = max(map(len, files[:PRINTED])), max(map(len, names))
    said = decision.of(shares)
    for file, place, share in zip(files[:PRINTED], said, shares, strict=False):
        print(f"{file:<{width}}  {names[place]:<{label}}  {share[place]:7.2%}")
    if len(files) > PRINTED:
        print(f"... and {len(files) - PRINTED:,} more")
    counts = Counter(names[place] for place in said)
    print(", ".join(f"{name}: {count:,}" for name, count in counts.most_common()))
    if decision.line:
        print(decision.line)
    if predictions.bad:
        print(f"{naming(predictions.bad)}; left out")


if __name__ == "__main__":
    cli(main)
