"""What the page shows of an embedding: the training images that are nearest to an image, with their distances."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from basics.errors import InputError
from datamodules import ImageData
from datamodules.listing import naming
from datamodules.threads import in_threads
from harness.runs.checkpoints import Checkpoint
from harness.serving.uploads import data_url, uploaded
from harness.tasks.image_evidence import as_tensor
from harness.tasks.image_prediction import reader_of
from harness.tasks.trained import load_data
from lit_modules.retrieval import nearest
from lit_modules.stages import Stages

SHOWN = 11  # neighbours: with the image itself they fill rows of four


class NeighbourAnswers:
    """Answers by an embedding, from the images that it was trained on, which are embedded once at the start.

    Args:
        model: an `Embedder`.

    Raises:
        InputError: these images are not at hand.
    """

    def __init__(self, read: Checkpoint, model: Stages) -> None:
        self.model, self.reads = model.eval(), reader_of(read, model)
        data = load_data(read)
        assert isinstance(data, ImageData)  # as metric_learning.py trains on
        data.prepare_data()
        data.setup()
        self.images, self.labels = data.arrays.train_images, data.arrays.train_labels
        self.names = [str(name) for name in data.classes]
        self.gallery = torch.cat([self._embedded(images) for images, _ in data.gallery_dataloader()])  # (G, D)
        text = f"{model.hparams['net']}, {self.gallery.shape[1]} dimensions; cosine distances, from 0 to 2."
        title = f"Which of {len(self.labels):,} training images are most like this one?"
        self.about: Mapping[str, Any] = {"title": title, "text": text}

    def answer(self, body: bytes) -> dict[str, Any]:
        with uploaded(body) as path:
            (image,) = in_threads(self.reads, [path])
            if isinstance(image, str):
                raise InputError(naming({str(path): image}))
        embedded = self._embedded(as_tensor([image]))  # (1, D)
        (rows,) = nearest(embedded, self.gallery, min(SHOWN, len(self.labels))).tolist()
        distances = 1 - F.cosine_similarity(embedded.double(), self.gallery[rows].double())
        pictures = [("as the network sees it", data_url(image))]
        for row, distance in zip(rows, distances.tolist(), strict=True):
            title = f"{self.names[self.labels[row]]}, {abs(distance):.3f} away"  # rounding may leave -0.000
            pictures.append((title, data_url(Image.fromarray(self.images[row]))))
        return {"pictures": pictures}

    @torch.inference_mode()
    def _embedded(self, images: Tensor) -> Tensor:
        """Embeddings, (B, D), of images in 0..1, (B, C, H, W)."""
        return self.model(images.to(self.model.device)).cpu()
