"""Which errors are the user's, and become one line, and which are bugs, and keep their traceback."""

import pytest

from harness.command_line.cli import ROOT, cli, is_ours

BUGS = {
    "conversion": "int('x')",
    "unpacking": "a, b = [1, 2, 3]",
    "zip": "list(zip([1], [1, 2], strict=True))",
    "index": "[1].index(2)",
    "reshape": "import numpy; numpy.zeros(6).reshape(4, 4)",
    "with": "with open(__import__('os').devnull): int('x')",
    "finally": "try: int('x')\nfinally: [].sort()",
    "raised again": "try: int('x')\nexcept ValueError: raise",
    "loop": "for a, b in [(1, 2, 3)]: pass",
    "generator": "sum(int(x) for x in '1x')",
}
MISTAKES = {
    "plain": "raise ValueError('--lr x: no')",
    "from": "try: int('x')\nexcept ValueError as error: raise ValueError('--lr x: no') from error",
    "conditional": "if not 0 > 1: raise ValueError('--lr x: no')",
    "with": "with open(__import__('os').devnull): raise ValueError('--lr x: no')",
    "finally": "try: raise ValueError('--lr x: no')\nfinally: [].sort()",
    "variable": "error = ValueError('--lr x: no')\nraise error",
    "system": "open('/nothing/there')",
}


def error_of(source, path):
    """What this code ends with where it stands in a file of that path."""
    with pytest.raises((ValueError, OSError)) as caught:
        exec(compile(source, str(path), "exec"), {})
    return caught.value


@pytest.mark.parametrize("package", ["experiments", "lit_modules"])
@pytest.mark.parametrize("source", BUGS.values(), ids=BUGS)
def test_error_that_an_operation_makes_is_a_bug(source, package):
    assert not is_ours(error_of(source, ROOT / package / "made_up.py"))


@pytest.mark.parametrize("package", ["experiments", "datamodules"])
@pytest.mark.parametrize("source", MISTAKES.values(), ids=MISTAKES)
def test_error_that_our_code_raises_is_the_users(source, package):
    assert is_ours(error_of(source, ROOT / package / "made_up.py"))
    assert not is_ours(error_of(source, "/elsewhere/library.py"))


def test_bug_ends_with_its_traceback():
    def main(text: str = "x") -> None:
        exec(compile("int('x')", str(ROOT / "experiments" / "made_up.py"), "exec"), {})

    with pytest.raises(ValueError, match="invalid literal"):
        cli(main, args=[])
