"""Public tables, and a few rows in the shape of each: they train with the flags that errors name."""

import numpy as np
import pytest
import torch
from table_files import TABLES, data_of

from experiments import table
from harness.tasks.tabular import complete_net_args
from lit_modules.nets import build_net

REAL = {  # target, and the flags that the first message names
    "auto_imports_noheader.csv": ("c26", {"no_header": True}),
    "california_housing.csv": ("median_house_value", {}),
    "cta_ridership_daily.csv": ("total_rides", {}),
    "german_credit.csv": ("default", {"task": "classification"}),
    "insurance.csv": ("charges", {}),
    "islp_auto_whitespace.data": ("mpg", {}),
    "islp_carseats.csv": ("Sales", {}),
    "islp_hitters.csv": ("Salary", {"drop_missing_target": True}),
    "mushrooms.csv": ("type", {"task": "classification"}),
    "titanic_test.csv": ("Fare", {"drop_missing_target": True}),
    "titanic_train.csv": ("Survived", {"task": "classification"}),
    "winequality_red_noheader.csv": ("c12", {"no_header": True}),
}
SAYS_ITSELF = {"german_credit.csv", "titanic_train.csv"}  # their classes are numbers; a regression is no fault


@pytest.mark.parametrize("name", REAL)
def test_real_table_is_read_with_the_flags_that_its_error_names(name):
    if not (TABLES / name).exists():
        pytest.skip("data/tables is not there")
    target, flags = REAL[name]
    if flags and name not in SAYS_ITSELF:
        with pytest.raises(ValueError) as error:
            data_of(TABLES / name, target)
        assert all(f"--{flag}" in str(error.value) for flag in flags)
    data = data_of(TABLES / name, target, **flags)
    assert np.isfinite(data.rows).all()
    assert len(data.columns) == len(data.read().cells.columns)


ROWS = range(40)
# Each public table's peculiarities in a few rows: a line for each, the target, and the flags that errors name.
SHAPES = {
    "cars without a header": (
        [f"3,{'?' if i % 3 else 150 + i},{('alfa', 'bmw')[i % 2]},gas,{88 + i}.60,{11000 + 71 * i}" for i in ROWS],
        "c6", {"no_header": True},
    ),
    "houses in California": (
        ["longitude,rooms,bedrooms,value,ocean"]
        + [f"-122.{i:02d},{880 + i}.0,{'' if i == 5 else 129 + i},{452600 - i}.0,{('NEAR BAY', '<1H OCEAN')[i % 2]}"
           for i in ROWS],
        "value", {},
    ),
    "rides by day": (
        ["service_date,day_type,total"] + [f"01/{1 + i % 28:02d}/2001,{'WAU'[i % 3]},{400000 + 900 * i}" for i in ROWS],
        "total", {},
    ),
    "credits whose classes are numbers": (
        ["balance,amount,default"] + [f"{('< 0 DM', 'unknown')[i % 2]},{1169 + 31 * i},{1 + i % 2}" for i in ROWS],
        "default", {},
    ),
    "cars between blanks": (
        ["mpg\tcylinders\tweight name"]
        + [f'{18 + i % 9}.0   {4 + i % 3}   {3504 + 13 * i}. \t"seat {("malibu", "impala")[i % 2]} {i}"' for i in ROWS],
        "mpg", {},
    ),
    "players without a salary": (
        ["AtBat,League,Salary"] + [f"{290 + i},{'AN'[i % 2]},{475.0 + i if i % 7 else ''}" for i in ROWS],
        "Salary", {"drop_missing_target": True},
    ),
    "mushrooms, all of categories": (
        ["type,cap,odor"] + [f"{'ep'[i % 2]},{'xbs'[i % 3]},{'anp'[i % 3]}" for i in ROWS],
        "type", {"task": "classification"},
    ),
    "passengers": (
        ["PassengerId,Survived,Name,Age,Cabin"]
        + [f'{i + 1},{i % 2},"Braund {i}, Mr. Owen",{22 + i if i % 5 else ""},{"" if i % 4 else "C85"}' for i in ROWS],
        "Survived", {},
    ),
    "wines without a header": ([f"7.{i % 9},0.{10 + i},{5 + i % 3}" for i in ROWS], "c3", {"no_header": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shape_of_a_public_table_makes_the_default_net_with_the_flags_that_errors_name(tmp_path, name):
    lines, target, flags = SHAPES[name]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    given = {}
    for flag, value in flags.items():
        with pytest.raises(ValueError, match=f"--{flag}"):
            data_of(path, target, **given)
        given[flag] = value
    data = data_of(path, target, **given)
    net_args = complete_net_args(data, "tabm", dict(table.RECIPES["tabm"].net_args))
    outputs = max(1, len(data.classes))
    said = build_net("tabm", data.input_shape, outputs, **net_args)(torch.from_numpy(data.rows))
    assert said.shape == (len(data.rows), outputs)
    assert torch.isfinite(said).all()


def test_column_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\n".join(SHAPES["passengers"][0]))
    with pytest.raises(
        ValueError, match=r"column 'Fare' is missing; there are 'PassengerId', 'Survived', 'Name', 'Age', 'Cabin'$"
    ):
        data_of(path, "Fare")
    path.write_text(",".join(f"column{number}" for number in range(20)) + "\n" + ",".join("1" * 20) + "\n")
    with pytest.raises(ValueError, match=r"'column7' and 12 more$"):
        data_of(path, "Fare")
