"""What `--compile` may be."""

from basics.choose import choose


def compile_mode(asked: bool | str) -> str | None:
    """torch.compile's mode; None where nothing is to be compiled.

    Raises:
        InputError: torch has no such mode.
    """
    if isinstance(asked, bool):
        return "default" if asked else None
    from torch._inductor import list_mode_options  # only here, for its import takes a second

    choose("compile mode", asked, list_mode_options())
    return asked
