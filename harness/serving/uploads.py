"""What pages of images share: an uploaded file for what reads files, and pictures as addresses that hold them."""

import base64
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from torch import Tensor

from basics.errors import InputError


@contextmanager
def uploaded(body: bytes) -> Iterator[Path]:
    """A file with what was uploaded; an InputError that names it calls it "this one"."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image")
        path.write_bytes(body)
        try:
            yield path
        except InputError as error:
            raise InputError(str(error).replace(str(path), "this one")) from error


def painted(colours: Tensor) -> Image.Image:
    """Colours, (3, H, W) in 0..1, as an image."""
    return Image.fromarray((255 * colours).round().byte().permute(1, 2, 0).numpy())


def data_url(image: Image.Image) -> str:
    """The image as an address that holds it."""
    content = BytesIO()
    image.save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
