"""What other people would use on a table: boosted trees, and a linear model."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd


def hist_gradient_boosting(classes: bool) -> Any:
    """HistGradientBoosting with scikit-learn's defaults."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(random_state=0)


def xgboost(classes: bool) -> Any:
    """XGBoost with many shallow trees and a low learning rate."""
    from xgboost import XGBClassifier, XGBRegressor

    return (XGBClassifier if classes else XGBRegressor)(
        n_estimators=1500, max_depth=4, learning_rate=0.03, subsample=0.7, colsample_bytree=0.4, random_state=0
    )


def catboost(classes: bool) -> Any:
    """CatBoost with its defaults."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostClassifier if classes else CatBoostRegressor
    return kind(random_seed=0, verbose=False, allow_writing_files=False)


def tabpfn(classes: bool) -> Any:
    """TabPFN, a network that was trained on other tables."""
    from tabpfn import TabPFNClassifier, TabPFNRegressor

    return (TabPFNClassifier if classes else TabPFNRegressor)(random_state=0)


def linear(classes: bool) -> Any:
    """Ridge regression, whose penalty is chosen by leaving out one row at a time, or logistic regression."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(max_iter=5000) if classes else RidgeCV(np.logspace(-2, 4, 13))
    return make_pipeline(StandardScaler(), model)


_TREES: dict[str, Callable[[bool], Any]] = {
    "sklearn": hist_gradient_boosting,
    "xgboost": xgboost,
    "catboost": catboost,
    "tabpfn": tabpfn,
}


def installed() -> list[Callable[[bool], Any]]:
    """Makers of the models on plain columns whose packages are there; each is told whether it is to tell classes."""
    return [build for package, build in _TREES.items() if find_spec(package)]


def numbered(frame: pd.DataFrame, train: np.ndarray) -> np.ndarray:
    """The categories as numbers; those that are not in the training rows count as missing."""
    columns = []
    for name in frame:
        values = frame[name]
        if values.dtype != np.float64:
            known = {text: number for number, text in enumerate(sorted(values.iloc[train].unique()))}
            values = values.map(known).astype(np.float64)
        columns.append(values.to_numpy())
    return np.stack(columns, axis=1)
