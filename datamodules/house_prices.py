"""House prices in Ames, Iowa, 2006 to 2010: Kaggle's "House Prices: Advanced Regression Techniques".

1,460 rows with prices to train on, and 1,459 without, whose predictions make a submission (De Cock 2011, "Ames,
Iowa: Alternative to the Boston housing data").
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from basics.errors import InputError
from datamodules.csv_files import read_csv
from datamodules.download import download_file
from datamodules.other_rows import OtherRows, hashes
from datamodules.preprocessing import Recipe, RecipeOptions, columns_of, transform
from datamodules.sample_tables import houses
from datamodules.table_data import TableData
from datamodules.table_splits import Fold
from datamodules.tables import Kind, Table, check_unique

MIRROR = "http://d2l-data.s3-accelerate.amazonaws.com/"  # of Zhang et al., "Dive into deep learning"
FILES = {  # each with its name on the mirror and its SHA-256
    "train.csv": ("kaggle_house_pred_train.csv", "1e18addf81e5e4d347cc17ee6075bbe4a42b7fa26b9e5b063e8f692a5f929d41"),
    "test.csv": ("kaggle_house_pred_test.csv", "8fdd3d829d4d986b58f845c9553b225e67dd8383624d90fb6ca1d4bed5798c1e"),
}

QUALITY = ["Po", "Fa", "TA", "Gd", "Ex"]  # poor to excellent; where NA is a level, it means that there is none
IF_THERE = ["NA", *QUALITY]
FINISH = ["NA", "Unf", "LwQ", "Rec", "BLQ", "ALQ", "GLQ"]  # of the basement
ORDINALS: dict[str, Kind] = {
    **dict.fromkeys(("ExterQual", "ExterCond", "HeatingQC", "KitchenQual"), QUALITY),
    **dict.fromkeys(("BsmtQual", "BsmtCond", "FireplaceQu", "GarageQual", "GarageCond", "PoolQC"), IF_THERE),
    **dict.fromkeys(("BsmtFinType1", "BsmtFinType2"), FINISH),
    "BsmtExposure": ["NA", "No", "Mn", "Av", "Gd"],
    "Functional": ["Sal", "Sev", "Maj2", "Maj1", "Mod", "Min2", "Min1", "Typ"],
    "GarageFinish": ["NA", "Unf", "RFn", "Fin"],
    "Fence": ["NA", "MnWw", "GdWo", "MnPrv", "GdPrv"],
    "LotShape": ["IR3", "IR2", "IR1", "Reg"],
    "LandSlope": ["Sev", "Mod", "Gtl"],
    "Utilities": ["ELO", "NoSeWa", "NoSewr", "AllPub"],
    "PavedDrive": ["N", "P", "Y"],
    "CentralAir": ["N", "Y"],
    "Street": ["Grvl", "Pave"],
}
CATEGORIES = """MSSubClass MSZoning Alley LandContour LotConfig Neighborhood Condition1 Condition2 BldgType HouseStyle
    RoofStyle RoofMatl Exterior1st Exterior2nd MasVnrType Foundation Heating Electrical GarageType MiscFeature SaleType
    SaleCondition""".split()
ZEROS = """MasVnrArea BsmtFinSF1 BsmtFinSF2 BsmtUnfSF TotalBsmtSF BsmtFullBath BsmtHalfBath GarageCars
    GarageArea""".split()  # missing if the house has no such part
NUMBERS = (
    """LotFrontage LotArea OverallQual OverallCond YearBuilt YearRemodAdd 1stFlrSF 2ndFlrSF LowQualFinSF GrLivArea
    FullBath HalfBath BedroomAbvGr KitchenAbvGr TotRmsAbvGrd Fireplaces GarageYrBlt WoodDeckSF OpenPorchSF EnclosedPorch
    3SsnPorch ScreenPorch PoolArea MiscVal MoSold YrSold""".split()
    + ZEROS
)
DERIVED: list[dict[str, Any]] = [
    {"name": "TotalSF", "sum": {"TotalBsmtSF": 1, "1stFlrSF": 1, "2ndFlrSF": 1}},
    {"name": "Age", "sum": {"YrSold": 1, "YearBuilt": -1}},
    {"name": "SinceRemodel", "sum": {"YrSold": 1, "YearRemodAdd": -1}},
    {"name": "Baths", "sum": {"FullBath": 1, "HalfBath": 0.5, "BsmtFullBath": 1, "BsmtHalfBath": 0.5}},
    {
        "name": "Porch",
        "sum": {"WoodDeckSF": 1, "OpenPorchSF": 1, "EnclosedPorch": 1, "3SsnPorch": 1, "ScreenPorch": 1},
    },
    {"name": "QualityArea", "product": ["OverallQual", "TotalSF"]},
    # Unfinished houses sell for less than their size and quality promise, in some places more so than in others.
    {"name": "PartialArea", "product": ["SaleCondition=Partial", "TotalSF"]},
]
NEIGHBORHOODS = """Blmngtn Blueste BrDale BrkSide ClearCr CollgCr Crawfor Edwards Gilbert IDOTRR MeadowV Mitchel NAmes
    NPkVill NWAmes NoRidge NridgHt OldTown SWISU Sawyer SawyerW Somerst StoneBr Timber Veenker""".split()
for _place in NEIGHBORHOODS:
    _there, _unfinished = f"Neighborhood={_place}", "SaleCondition=Partial"
    DERIVED += [
        {"name": f"Area{_place}", "product": [_there, "TotalSF"]},
        {"name": f"Partial{_place}", "product": [_there, _unfinished]},
        {"name": f"PartialArea{_place}", "product": [_there, _unfinished, "TotalSF"]},
    ]
FEATURES = ("engineered", "plain")


@dataclass(frozen=True, kw_only=True)
class HouseOptions:
    """What becomes of the columns of the house prices.

    Args:
        features: engineered: quality scales as numbers, and areas, ages and baths added up; plain: neither.
        log1p: skewed: logarithms of skewed numbers; none.
        clip: quantiles of the training rows that numbers are clipped to; [] for none.
        scale: standard, robust (with a smooth end) or quantile.
        rare: categories with fewer training rows share one column.

    Raises:
        InputError: there are no such features.
    """

    features: str = "engineered"
    log1p: str = "skewed"
    clip: list[float] = field(default_factory=lambda: [0.005, 0.995])
    scale: str = "standard"
    rare: int = 1

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise InputError(f"features {self.features!r}: must be one of {', '.join(FEATURES)}")


class HousePrices(TableData):
    """Kaggle's train.csv, whose log-price is the target; `other_rows` are those of test.csv.

    Args:
        data_dir: the folder that holds house-prices/{train,test}.csv.
        batch_size, seed, val_size, fold: those of `TableData`.
        sample: use a generated table with the same columns; needs no files.
        options: those of `HouseOptions`.
    """

    name = "house_prices"
    target, id_column = "SalePrice", "Id"
    log_target = True

    def __init__(
        self,
        data_dir: str = "data",
        batch_size: int = 256,
        seed: int = 0,
        val_size: float = 0.1,
        fold: Fold | None = None,
        sample: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(batch_size, seed, val_size, fold)
        chosen = HouseOptions(**options)
        self.hparams.update(asdict(chosen))  # those that have their defaults too
        self.folder, self.sample = Path(data_dir) / "house-prices", sample
        columns: dict[str, Kind] = {**dict.fromkeys(NUMBERS, "number"), **dict.fromkeys(CATEGORIES, "category")}
        scaling = RecipeOptions(log1p=chosen.log1p, clip=list(chosen.clip), scale=chosen.scale, rare=chosen.rare)
        if chosen.features == "engineered":
            self._recipe = Recipe(columns | ORDINALS, zeros=ZEROS, derived=DERIVED, **scaling)
        else:
            self._recipe = Recipe(columns | dict.fromkeys(ORDINALS, "category"), **scaling)

    def prepare_data(self) -> None:
        """Downloads the files that are missing.

        Raises:
            MissingFileError: they could not be fetched.
        """
        for name, (mirrored, sha256) in {} if self.sample else FILES.items():
            download_file(self.folder / name, MIRROR + mirrored, sha256)

    def read(self) -> Table:
        return houses()[0] if self.sample else read_csv(self.folder / "train.csv", gathers=True)

    def recipe(self, table: Table) -> Recipe:
        return self._recipe

    def other_rows(self) -> OtherRows:
        """The Ids of test.csv and its preprocessed rows, which have no targets.

        Raises:
            InputError: the file is no such table.
        """
        table = houses()[1] if self.sample else read_csv(self.folder / "test.csv")
        frame = columns_of(table, self.preprocessing["recipe"], self.besides)
        check_unique(table, self.id_column)
        return OtherRows(table.cells[self.id_column].to_numpy(), transform(frame, self.preprocessing), hashes(frame))
