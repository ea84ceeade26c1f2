"""Small tables that need no download, the same on every machine and at every call."""

import gzip

import numpy as np
import pandas as pd

from datamodules.samples import sklearn_data
from datamodules.tables import Table

SEED = 0


def diabetes() -> Table:
    """442 patients with ten measurements and the disease's `progression` a year later (Efron et al. 2004)."""
    folder = sklearn_data()
    columns = "age sex bmi blood_pressure s1 s2 s3 s4 s5 s6 progression".split()
    with (
        gzip.open(folder / "diabetes_data_raw.csv.gz", "rt") as rows,
        gzip.open(folder / "diabetes_target.csv.gz", "rt") as targets,
    ):
        lines = [[*row.split(), target.strip()] for row, target in zip(rows, targets, strict=True)]
    return _as_table("scikit-learn's diabetes table", pd.DataFrame(lines, columns=columns))


def wine() -> Table:
    """178 wines of three growers, their `class`, with thirteen measurements (UCI, Aeberhard and Forina 1992)."""
    columns = """alcohol malic_acid ash alcalinity magnesium phenols flavanoids nonflavanoids proanthocyanins colour hue
        dilution proline class""".split()
    rows = (sklearn_data() / "wine_data.csv").read_text().splitlines()[1:]
    return _as_table("scikit-learn's wine table", pd.DataFrame([row.split(",") for row in rows], columns=columns))


def houses(num_train: int = 600, num_test: int = 200) -> tuple[Table, Table]:
    """A generated table with the columns of house-prices, to train on with prices and to predict without.

    The price follows from area, quality, age, condition, neighbourhood and garage (see `_price`), with 8 % noise.
    Values are missing, and categories rare, as in the real table.
    """
    rng = np.random.default_rng(SEED)
    frame = _houses(num_train + num_test, rng)
    price = _price(frame) * np.exp(0.08 * rng.standard_normal(len(frame)))
    frame = _with_gaps(frame.astype(str), rng)
    frame.insert(0, "Id", [str(number) for number in range(1, len(frame) + 1)])
    train = frame[:num_train].assign(SalePrice=(100 * (price[:num_train] / 100).round()).astype(int).astype(str))
    return _as_table("the embedded sample", train), _as_table("the embedded sample", frame[num_train:])


def _as_table(source: str, frame: pd.DataFrame) -> Table:
    return Table(source, frame.astype(object).set_axis(range(2, len(frame) + 2), axis=0))


AREAS = {  # lowest and highest, in square feet; the share of houses that have none
    "LotArea": (3000, 20000, 0.0),
    "MasVnrArea": (50, 600, 0.6),
    "BsmtFinSF2": (50, 500, 0.9),
    "LowQualFinSF": (80, 500, 0.98),
    "WoodDeckSF": (50, 400, 0.5),
    "OpenPorchSF": (20, 200, 0.45),
    "EnclosedPorch": (50, 250, 0.85),
    "3SsnPorch": (100, 300, 0.98),
    "ScreenPorch": (80, 300, 0.92),
    "PoolArea": (400, 800, 0.99),
    "MiscVal": (300, 3000, 0.96),
}
CHOICES = {  # with the share of the first; each further one has half of what is left
    "MSSubClass": ("20 60 50 120 30 160 70 80 90 190", 0.4),
    "MSZoning": ("RL RM FV RH C_(all)", 0.8),
    "Street": ("Pave Grvl", 0.99),
    "Alley": ("NA Grvl Pave", 0.93),
    "LotShape": ("Reg IR1 IR2 IR3", 0.6),
    "LandContour": ("Lvl Bnk HLS Low", 0.9),
    "Utilities": ("AllPub NoSeWa", 0.998),
    "LotConfig": ("Inside Corner CulDSac FR2 FR3", 0.7),
    "LandSlope": ("Gtl Mod Sev", 0.95),
    "Condition1": ("Norm Feedr Artery RRAn PosN", 0.85),
    "Condition2": ("Norm Feedr Artery", 0.99),
    "BldgType": ("1Fam TwnhsE Duplex Twnhs 2fmCon", 0.8),
    "HouseStyle": ("1Story 2Story 1.5Fin SLvl SFoyer", 0.5),
    "RoofStyle": ("Gable Hip Flat Gambrel", 0.8),
    "RoofMatl": ("CompShg Tar&Grv WdShngl", 0.98),
    "Exterior1st": ("VinylSd HdBoard MetalSd Plywood Stucco", 0.4),
    "Exterior2nd": ("VinylSd HdBoard MetalSd Plywood Stucco", 0.4),
    "MasVnrType": ("None BrkFace Stone BrkCmn", 0.6),
    "ExterCond": ("TA Gd Fa Ex", 0.85),
    "Foundation": ("PConc CBlock BrkTil Slab", 0.45),
    "BsmtCond": ("TA Gd Fa NA", 0.9),
    "BsmtExposure": ("No Av Gd Mn NA", 0.65),
    "BsmtFinType1": ("Unf GLQ ALQ BLQ Rec LwQ NA", 0.3),
    "BsmtFinType2": ("Unf Rec LwQ NA", 0.87),
    "Heating": ("GasA GasW Grav", 0.98),
    "HeatingQC": ("Ex TA Gd Fa", 0.5),
    "CentralAir": ("Y N", 0.93),
    "Electrical": ("SBrkr FuseA FuseF", 0.92),
    "Functional": ("Typ Min2 Min1 Mod", 0.93),
    "FireplaceQu": ("NA Gd TA Fa Ex", 0.47),
    "GarageType": ("Attchd Detchd BuiltIn NA", 0.6),
    "GarageFinish": ("Unf RFn Fin NA", 0.42),
    "GarageQual": ("TA Fa Gd NA", 0.92),
    "GarageCond": ("TA Fa Gd NA", 0.92),
    "PavedDrive": ("Y N P", 0.92),
    "PoolQC": ("NA Gd Ex", 0.99),
    "Fence": ("NA MnPrv GdPrv GdWo", 0.8),
    "MiscFeature": ("NA Shed Gar2", 0.96),
    "SaleType": ("WD New COD Oth", 0.87),
    "SaleCondition": ("Normal Partial Abnorml Family", 0.82),
}
NEIGHBORHOODS = {"NAmes": 0.0, "CollgCr": 0.08, "OldTown": -0.12, "Somerst": 0.1, "NridgHt": 0.25, "Blueste": -0.05}


def _houses(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Complete houses. What depends on nothing else is drawn at random."""
    columns = {name: _choose(words.split(), first, count, rng) for name, (words, first) in CHOICES.items()}
    columns |= {
        name: rng.integers(low, high, count) * (rng.random(count) >= none) for name, (low, high, none) in AREAS.items()
    }
    quality = (6 + 1.4 * rng.standard_normal(count)).round().clip(1, 10).astype(int)
    built = rng.integers(1900, 2010, count)
    first, second = rng.integers(500, 1800, count), rng.integers(300, 1000, count) * (rng.random(count) < 0.45)
    basement, cars = (first * rng.uniform(0.7, 1, count)).astype(int), rng.integers(0, 4, count)
    finished = (basement * rng.uniform(0, 0.9, count)).astype(int)
    scale = np.array(["Fa", "TA", "Gd", "Ex"])
    graded = [scale[((quality + rng.normal(0, 1, count) - 2) / 2).clip(0, 3).astype(int)] for _ in range(3)]
    columns |= dict(zip(("ExterQual", "BsmtQual", "KitchenQual"), graded, strict=True))
    columns |= {
        "LotFrontage": rng.integers(25, 120, count), "Neighborhood": _choose(list(NEIGHBORHOODS), 0.3, count, rng),
        "OverallQual": quality, "OverallCond": rng.integers(3, 10, count),
        "YearBuilt": built, "YearRemodAdd": np.maximum(built, rng.integers(1950, 2010, count)),
        "BsmtFinSF1": finished, "BsmtUnfSF": (basement - finished - columns["BsmtFinSF2"]).clip(0),
        "TotalBsmtSF": basement, "1stFlrSF": first, "2ndFlrSF": second, "GrLivArea": first + second,
        "BsmtFullBath": rng.integers(0, 2, count), "BsmtHalfBath": rng.integers(0, 2, count),
        "FullBath": rng.integers(1, 4, count), "HalfBath": rng.integers(0, 2, count),
        "BedroomAbvGr": rng.integers(1, 6, count), "KitchenAbvGr": np.ones(count, int),
        "TotRmsAbvGrd": rng.integers(4, 12, count), "Fireplaces": rng.integers(0, 3, count),
        "GarageYrBlt": built, "GarageCars": cars, "GarageArea": 260 * cars,
        "MoSold": rng.integers(1, 13, count), "YrSold": rng.integers(2006, 2011, count),
    }  # fmt: skip
    return pd.DataFrame(columns)


def _choose(words: list[str], first: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random words: the first with this share, each further one with half of what is left, the last with the rest."""
    left = (1 - first) * 0.5 ** np.arange(len(words) - 1)
    shares = [first, *(left[:-1] / 2), left[-1]]
    return rng.choice([word.replace("_", " ") for word in words], count, p=shares)


def _price(frame: pd.DataFrame) -> np.ndarray:
    """The formula, in dollars: elasticity 0.7 in area, 9 % per point of quality, half a percent off per year."""
    area = frame["TotalBsmtSF"] + frame["GrLivArea"]
    log_price = 11.4 + 0.7 * np.log(area / 2000) + 0.09 * (frame["OverallQual"] - 6) + 0.03 * frame["OverallCond"]
    log_price -= 0.005 * (frame["YrSold"] - frame["YearBuilt"]).clip(0)
    log_price += frame["Neighborhood"].map(NEIGHBORHOODS) + 0.05 * frame["GarageCars"] + 0.04 * frame["FullBath"]
    return np.exp(log_price - 0.2 * (frame["SaleCondition"] == "Abnorml")).to_numpy()


def _with_gaps(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Removes values as they are missing in the real table: some at random, some for lack of a garage."""
    for name, share in {"LotFrontage": 0.18, "MasVnrArea": 0.01, "Electrical": 0.002, "MSZoning": 0.002}.items():
        frame.loc[rng.random(len(frame)) < share, name] = "NA"
    frame.loc[frame["GarageCars"] == "0", ["GarageYrBlt", "GarageFinish", "GarageQual", "GarageType"]] = "NA"
    return frame
