"""Reading many files by threads, in order, with a bar."""

import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from PIL import UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from basics.cores import cores

S = TypeVar("S")
T = TypeVar("T")

AHEAD = 4  # files a core that are read before the first of them is asked for


def in_threads(read: Callable[[S], T], sources: Sequence[S]) -> Iterator[T | str]:
    """The result of `read` for each source, in order, or why Pillow could not read it."""

    def guarded(source: S) -> T | str:
        try:
            return read(source)
        except UnidentifiedImageError:
            return "no image of a known format"
        except Exception as error:  # damaged files raise errors of any kind
            return str(error) or type(error).__name__

    workers = cores()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about large images; it refuses those of twice its limit
        if workers == 1:
            yield from map(guarded, sources)  # another thread would only take time from this one
            return
        # Threads suffice: Pillow lets others run while it decodes and resizes. More than cores get in each other's way.
        with ThreadPoolExecutor(workers) as pool:
            waiting: deque[Future[T | str]] = deque()
            for source in sources:
                waiting.append(pool.submit(guarded, source))
                if len(waiting) > AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def with_bar(results: Iterable[T], total: float) -> Iterable[T]:
    """The results, with a bar on stderr while they arrive, if that is a terminal."""
    if sys.stderr.isatty():
        return track(results, "decoding", total, console=Console(stderr=True), transient=True)
    return results
