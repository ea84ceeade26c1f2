"""What the files in a folder offer by name, such as networks; a user's own file needs to be entered nowhere."""

import pkgutil
import re
import traceback
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.machinery import FileFinder
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from basics.choose import choose
from basics.errors import InputError


class Offers(NamedTuple):
    """The modules of a package, and what is wrong with its files that are not among them."""

    modules: list[ModuleType]
    faults: dict[Path, str]

    def by_name(self) -> dict[str, Any]:
        """What the modules name in their `__all__`, by its name in lower case."""
        return {name.lower(): getattr(module, name) for module in self.modules for name in module.__all__}

    def choose(self, kind: str, name: str, known: Mapping[str, Any], flag: str = "") -> Any:
        """What is `known` by this name; `kind` and `flag` as in `basics.choose`.

        Raises:
            InputError: there is no such name, or it stands in a file that cannot be imported.
        """
        for path, fault in ({} if name in known else self.faults).items():
            if name.lower() in (path.stem, *re.findall(r"\w+", path.read_text(errors="replace").lower())):
                raise InputError(f"{flag or kind} {name!r}: {fault}")
        return choose(kind, name, known, flag)


def read_offers(package: str, folders: Iterable[str], what: str) -> Offers:
    """Imports the modules of a package.

    Args:
        folders: the package's `__path__`.
        what: they offer, in messages.
    """
    modules: list[ModuleType] = []
    faults: dict[Path, str] = {}
    for found in pkgutil.iter_modules(folders):
        assert isinstance(found.module_finder, FileFinder)  # as of all that is in a folder
        path = Path(found.module_finder.path, found.name)
        path = path / "__init__.py" if found.ispkg else path.with_suffix(".py")
        try:
            module = import_module(f"{package}.{found.name}")
        except Exception as error:  # anything may happen in somebody's file
            faults[path] = f"{path}, line {_line(error, path)}: {type(error).__name__}: {error}"
            continue
        missing = [name for name in getattr(module, "__all__", ["__all__"]) if not hasattr(module, name)]
        if missing:
            offers = f"has no __all__ that names its {what}" if missing == ["__all__"] else f"has no {missing[0]!r}"
            faults[path] = f"{path}: {offers}"
        else:
            modules.append(module)
    return Offers(modules, faults)


def _line(error: Exception, path: Path) -> int:
    """The line of the file in which it happened."""
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)]
    return lines[-1] if lines else getattr(error, "lineno", None) or 1  # a SyntaxError has it
