"""How a run was started: passed by the command line to the script, and by the script to the run's files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar


class Invocation(NamedTuple):
    """The flags and the command of a script; both are empty if Python starts a training without a command line.

    Attributes:
        flags: all flags, as plain data, for config.yaml.
        command: the words of the command line, beginning with "python".
        changed: those flags that differ from the script's recipe.
    """

    flags: Mapping[str, Any] = {}
    command: Sequence[str] = ()
    changed: Mapping[str, Any] = {}


BY_PYTHON = Invocation()


@dataclass(frozen=True, kw_only=True)
class Invoked:
    """Flags that know how they were given; a script's own flags are a subclass."""

    invocation: Invocation = BY_PYTHON  # not a flag: the command line fills it in


def values(flags: Any, *kinds: type) -> dict[str, Any]:
    """The fields of a dataclass as they are, except for the invocation; only those of `kinds`, if given."""
    names = {each.name for kind in kinds or [type(flags)] for each in fields(kind)} - {"invocation"}
    return {each.name: getattr(flags, each.name) for each in fields(flags) if each.name in names}


FlagsT = TypeVar("FlagsT", bound=Invoked)


def changed(flags: FlagsT, **new: Any) -> FlagsT:
    """The flags with other values for some, also in what config.yaml will hold."""
    invocation = flags.invocation
    if invocation.flags:
        invocation = invocation._replace(flags={**invocation.flags, **plain(new)})
    return replace(flags, **new, invocation=invocation)


# Arguments of data and models in config.yaml. The flag `name` is that of the run, and the flag `class_weights` is the
# word, balanced or none, that the numbers follow from.
OTHER_NAMES = {"name": "data", "class_weights": "weights_of_classes"}


def kept_by(flags: Invoked, *others: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's config.yaml holds: the flags of the command line, as plain data.

    For a run started from Python it holds `flags`, and `others`: the arguments of its data and model, those that are
    called like a flag of another meaning by the names in `OTHER_NAMES`.
    """
    if flags.invocation.flags:
        return dict(flags.invocation.flags)
    told = {OTHER_NAMES.get(name, name): value for other in others for name, value in other.items()}
    return plain({**told, **values(flags)})


def plain(value: Any) -> Any:
    """The value in types that YAML knows; anything else becomes the name of its type."""
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if value is None or type(value) in (bool, int, float, str):
        return value
    return str(value) if isinstance(value, Path) else type_name(value)


def type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
