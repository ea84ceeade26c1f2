"""What the page shows of an image: the probability of each class, and the image as the network sees it."""

import base64
import tempfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from basics.errors import InputError
from harness.runs.checkpoints import Checkpoint
from harness.tasks.image_prediction import names_of, of_sample_digits, predict_files, reader_of
from lit_modules import Classifier

SMALL_DIGITS = "Trained on the small digits of --sample: train on MNIST for digits of your own."


class ImageAnswers:
    """Answers by a classifier, or by the mean of a run's folds."""

    def __init__(self, read: Checkpoint, models: Sequence[Classifier]) -> None:
        self.models, self.reads = models, reader_of(read, models[0])
        self.names = names_of(models[0])
        folds = f", the mean of {len(models)} models" if len(models) > 1 else ""
        text = f"{models[0].hparams['net']}{folds}, {len(self.names)} classes."
        told = f"{text} {SMALL_DIGITS}" if of_sample_digits(read) else text
        self.about: Mapping[str, Any] = {"title": "What is in this image?", "text": told}

    def answer(self, body: bytes) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "image")
            path.write_bytes(body)
            try:
                said = predict_files(self.models, [path], self.reads, skip_bad=True)
            except InputError as error:
                raise InputError(str(error).replace(str(path), "this one")) from error
        shares = zip(self.names, said.probabilities[0].tolist(), strict=True)
        pictures = [("as the network sees it", data_url(said.shown[0]))]
        return {"shares": sorted(shares, key=lambda each: -each[1]), "pictures": pictures}


def data_url(image: Image.Image) -> str:
    """The image as an address that holds it."""
    content = BytesIO()
    image.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
