"""Makes a user's folder of images, for the tests of the code that reads it."""

from collections import Counter

from PIL import Image

from datamodules import ImageFolder

COLOUR = (200, 100, 40)
GREY = (120, 120, 120)


def save(path, colour=COLOUR, size=(24, 24), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


def photos(root, **classes):
    """A train/ with that many images in each class; no two are of the same colour."""
    for label, (name, count) in enumerate(classes.items()):
        for number in range(count):
            save(root / "train" / name / f"{number}.png", (60 * label, number, 255 - number))
    return root


def ready(root, **options):
    data = ImageFolder(str(root), **{"image_size": 16, **options})
    data.prepare_data()
    data.setup()
    return data


def colours(images):
    """The colours of plain images, (N, S, S, 3), each once for each image."""
    assert (images == images[:, :1, :1]).all()
    return Counter(map(tuple, images[:, 0, 0].tolist()))


def snapshot(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and ".arrays" not in path.parts]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def text(path):
    path.write_text("not an image")
