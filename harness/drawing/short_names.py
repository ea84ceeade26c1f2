"""Names of classes, columns and files in few characters, each different from the others of a list."""

from collections import Counter
from collections.abc import Sequence


def legible(names: Sequence[str], length: int = 18) -> list[str]:
    """Names as `tell_apart` shortens them, for texts of figures: matplotlib would read a formula between dollars."""
    return [_without_formulas(name) for name in tell_apart(names, length)]


def shortened(name: str, length: int = 18) -> str:
    """One name, likewise."""
    return _without_formulas(_cut(name, length))


def tell_apart(names: Sequence[str], length: int) -> list[str]:
    """Each name in at most `length` characters.

    A longer one is cut in the middle, since both ends tell names apart; where several would then look alike, what
    differs between them stays, with as much of the beginning as there is room for.
    """
    short = {name: _cut(name, length) for name in names}
    for text, count in Counter(short.values()).items():
        alike = [name for name in short if short[name] == text]
        if count > 1 and length > 5:
            pairs = enumerate(zip(*alike, strict=False))
            differ = next((place for place, letters in pairs if len(set(letters)) > 1), min(map(len, alike)))
            rests = tell_apart([name[differ:] for name in alike], length - length // 3 - 1)
            beginning = f"{alike[0][: length // 3]}…"
            short |= {name: beginning + rest for name, rest in zip(alike, rests, strict=True)}
    return [short[name] for name in names]


def _without_formulas(name: str) -> str:
    return name.replace("$", r"\$")


def _cut(name: str, length: int) -> str:
    half = (length - 1) // 2
    return name if len(name) <= length else f"{name[: length - 1 - half]}…{name[len(name) - half :]}"
