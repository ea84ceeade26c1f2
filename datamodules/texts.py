"""Texts as numbers: the share of a few n-grams in each, weighted by how rare they are.

The mathematics is that of scikit-learn's TfidfVectorizer: n-grams are counted, multiplied by ln((1 + rows) / (1 + rows
with it)) + 1, and each row is divided by its length (Salton and Buckley 1988). What is fitted is plain data.

A column of kind "text" has words, and n-grams of one and two of them; a "code" has letters and digits, and n-grams of
two and three within a word, its ends included as blanks.
"""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

WORD = re.compile(r"(?u)\b\w\w+\b")
FEATURES = 64  # n-grams of a column, those of most rows
FEWEST = 3  # rows with an n-gram, below which it is nothing to learn from
COMMON = 0.98  # share of rows above which an n-gram says nothing
SHORT = 1.5  # words in a text, below which it is a code


def grams(text: str, kind: str) -> list[str]:
    """The n-grams of a text, with repetitions."""
    words = WORD.findall(text.lower()) if kind == "text" else text.lower().split()
    if kind == "text":
        return [*words, *(f"{first} {second}" for first, second in pairwise(words))]
    padded = [f" {word} " for word in words]
    return [word[place : place + size] for size in (2, 3) for word in padded for place in range(len(word) - size + 1)]


def text_kind(texts: Iterable[str], distinct: bool) -> str:
    """ "text" or "code" for the values of a column, each as often as it occurs; "" if nothing in them recurs.

    Args:
        distinct: they differ in every row, so that only words can recur.
    """
    texts = list(texts)
    words = sum(len(WORD.findall(text)) for text in texts) / max(len(texts), 1)
    if words >= SHORT and _recur(texts):
        return "text"
    return "" if distinct else "code"


def _recur(texts: list[str]) -> bool:
    """Whether most texts have a word that some others have too, but not nearly all."""
    sets = [set(WORD.findall(text.lower())) for text in texts]
    rows = Counter(word for words in sets for word in words)
    fewest = max(FEWEST, 0.01 * len(texts))
    useful = {word for word, count in rows.items() if fewest <= count <= COMMON * len(texts)}
    return sum(bool(words & useful) for words in sets) > 0.5 * len(texts)


def fit_text(name: str, texts: Iterable[str], kind: str) -> dict[str, Any]:
    """The n-grams of most training rows, in alphabetical order, with their weights; ties are alphabetical too."""
    texts = list(texts)
    rows = Counter(gram for text in texts for gram in set(grams(text, kind)))
    useful = [(gram, count) for gram, count in rows.items() if FEWEST <= count <= max(COMMON * len(texts), FEWEST)]
    chosen = sorted(sorted(useful, key=lambda pair: (-pair[1], pair[0]))[:FEATURES])
    idf = [float(np.log((1 + len(texts)) / (1 + count)) + 1) for _, count in chosen]
    missing = any(not text for text in texts)
    return {"name": name, "kind": kind, "grams": [gram for gram, _ in chosen], "idf": idf, "missing": missing}


def transform_text(texts: Iterable[str], fitted: dict[str, Any]) -> np.ndarray:
    """The weights of the fitted n-grams in each text, float64, (N, n-grams), rows of length 1 or 0."""
    places = {gram: place for place, gram in enumerate(fitted["grams"])}
    texts = list(texts)
    counts = np.zeros((len(texts), len(places)))
    for row, text in enumerate(texts):
        for gram in grams(text, fitted["kind"]):
            if gram in places:
                counts[row, places[gram]] += 1
    weighted = counts * np.array(fitted["idf"])
    lengths = np.linalg.norm(weighted, axis=1, keepdims=True)
    return weighted / np.where(lengths, lengths, 1)
