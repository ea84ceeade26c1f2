"""The values that `--compile` accepts."""

from basics.choose import choose
from basics.torch_internals import compile_modes


def compile_mode(asked: bool | str) -> str | None:
    """The mode for torch.compile; None if nothing is to be compiled.

    Raises:
        InputError: torch has no mode of this name.
    """
    if isinstance(asked, bool):
        return "default" if asked else None
    choose("compile mode", asked, compile_modes())
    return asked
