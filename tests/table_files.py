"""Tables as files, and how the project reads them, for several tests."""

import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from datamodules.csv_table import CsvTable
from datamodules.preprocessing import columns_of

COUNT = 60
RNG = np.random.default_rng(0)
TABLES = Path(__file__).parents[1] / "data" / "tables"
PLAIN = pd.DataFrame({
    "size": RNG.normal(50, 9, COUNT).round(2),
    "town": RNG.choice(["Köln", "Łódź", "Nîmes"], COUNT),
    "note, if any": RNG.choice(np.array([None, "a, b", "c; d"]), COUNT),
    "price": RNG.integers(100, 999, COUNT),
})  # fmt: skip
DAYS = [datetime.datetime(1999, 12, 27, 6, 30) + datetime.timedelta(days=17, hours=5) * row for row in range(COUNT)]
WITH_TIME = "%Y-%m-%d %H:%M"


def data_of(path, target="price", **options):
    data = CsvTable(str(path), target, **options)
    data.setup()
    return data


def frame_of(data):
    """The typed features, as they are before anything is fitted."""
    recipe = data.preprocessing["recipe"]
    return columns_of(data.read(), recipe, tuple(data.preprocessing["besides"]))


def written(folder, frame, name="table.csv", **options):
    frame.to_csv(folder / name, index=False, **options)
    return folder / name
