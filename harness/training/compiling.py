"""What `--compile` may be."""

from basics.choose import choose
from basics.torch_internals import compile_modes


def compile_mode(asked: bool | str) -> str | None:
    """torch.compile's mode; None where nothing is to be compiled.

    Raises:
        InputError: torch has no such mode.
    """
    if isinstance(asked, bool):
        return "default" if asked else None
    choose("compile mode", asked, compile_modes())
    return asked
