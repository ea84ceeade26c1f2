"""What the page shows of an image: the probability of each class, and which places of it spoke for the likeliest."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from harness.drawing.evidence_figures import glowing_maps
from harness.runs.checkpoints import Checkpoint
from harness.serving.uploads import data_url, painted, uploaded
from harness.tasks.decisions import LIKELIEST, Decision
from harness.tasks.image_evidence import as_tensor, evidence_of
from harness.tasks.image_prediction import names_of, of_sample_digits, predict_files, reader_of
from lit_modules import Classifier
from lit_modules.evidence import makes_maps

SMALL_DIGITS = "Trained on the small digits of --sample: train on MNIST for digits of your own."


class ImageAnswers:
    """Answers by a classifier, or by the mean of a run's folds."""

    def __init__(self, read: Checkpoint, models: Sequence[Classifier], decision: Decision = LIKELIEST) -> None:
        self.models, self.reads, self.decision = models, reader_of(read, models[0]), decision
        self.names, self.explains = names_of(models[0]), makes_maps(models[0].eval())
        folds = f", the mean of {len(models)} models" if len(models) > 1 else ""
        text = f"{models[0].hparams['net']}{folds}, {len(self.names)} classes."
        told = f"{text} {SMALL_DIGITS}" if of_sample_digits(read) else text
        self.about: Mapping[str, Any] = {"title": "What is in this image?", "text": told}

    def answer(self, body: bytes) -> dict[str, Any]:
        with uploaded(body) as path:
            said = predict_files(self.models, [path], self.reads, skip_bad=True)
        shares, label = zip(self.names, said.values[0].tolist(), strict=True), int(self.decision.of(said.values)[0])
        pictures = {
            "as the network sees it": said.shown[0],
            **self._why(said.shown[0], label),
        }
        addresses = [(title, data_url(picture)) for title, picture in pictures.items()]
        notes = [f"Taken as {self.names[label]}: {self.decision.line}."] if self.decision.line else []
        return {"shares": sorted(shares, key=lambda each: -each[1]), "pictures": addresses, "notes": notes}

    def _why(self, image: Image.Image, label: int) -> dict[str, Image.Image]:
        """The image with what spoke for the label, by the title; nothing where the network has no feature maps."""
        if not self.explains:
            return {}
        pixels = as_tensor([image])
        maps = glowing_maps(pixels, evidence_of(self.models, pixels, torch.tensor([label])))
        titles = (f"what spoke for {self.names[label]}: Grad-CAM", "what it needs, by covering each place")
        return {title: painted(map) for title, (map,) in zip(titles, maps, strict=True)}
