"""Numbers of things in words: "1 epoch", "2,000 steps"."""


def amount(number: float, one: str, several: str = "") -> str:
    """The number with the right form of a noun.

    Args:
        one: its singular; words may follow the noun if `several` is given.
        several: its plural, if that is not the singular and an s.
    """
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
