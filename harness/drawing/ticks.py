"""Numbers at the axes of a figure."""

from matplotlib.ticker import EngFormatter, ScalarFormatter

LARGE = 10_000


class ScaledNumbers(ScalarFormatter):
    """Large numbers as 12.5 k or 1.5 M; others as matplotlib writes them, but with no number apart to be added."""

    def __init__(self) -> None:
        super().__init__(useOffset=False)
        self.scaled = EngFormatter()

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.scaled(x, pos) if self._large() else super().__call__(x, pos)

    def get_offset(self) -> str:
        return "" if self._large() else super().get_offset()

    def _large(self) -> bool:
        return max(map(abs, self.locs), default=0) >= LARGE
