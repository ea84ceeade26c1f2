"""Errors of the user become one line; errors that are bugs keep their traceback."""

import ast
import os
import pickle
import subprocess
import sys

import pytest

from basics.choose import nearest
from basics.errors import InputError, InputFileError, MissingFileError, reading, writing
from basics.versions import ROOT
from experiments import compare, mnist
from harness.command_line.cli import ELSEWHERE, cli, make_parser
from harness.command_line.parser_internals import flags_of
from harness.processes.pools import in_processes

PACKAGES = ("basics", "callbacks", "datamodules", "experiments", "harness", "lit_modules")
BUGS = {
    "conversion": "int('x')",
    "unpacking": "a, b = [1, 2, 3]",
    "plain": "raise ValueError('a mistake of a programmer')",
    "zip": "list(zip([1], [1, 2], strict=True))",
    "index": "[1].index(2)",
    "reshape": "import numpy; numpy.zeros(6).reshape(4, 4)",
    "with": "with open(__import__('os').devnull): int('x')",
    "finally": "try: int('x')\nfinally: [].sort()",
    "raised again": "try: int('x')\nexcept ValueError: raise",
    "loop": "for a, b in [(1, 2, 3)]: pass",
    "generator": "sum(int(x) for x in '1x')",
    "system": "open('/nothing/there')",
}
MISTAKES = {
    "plain": "raise InputError('--lr x: no')",
    "from a bug": "try: int('x')\nexcept ValueError as error: raise InputError('--lr x: no') from error",
    "conditional": "if not 0 > 1: raise InputError('--lr x: no')",
    "with": "with open(__import__('os').devnull): raise InputError('--lr x: no')",
    "finally": "try: raise InputError('--lr x: no')\nfinally: [].sort()",
    "variable": "error = InputError('--lr x: no')\nraise error",
    "file": "raise InputFileError('--lr x: no')",
    "missing file": "raise MissingFileError('--lr x: no')",
}


def ends_with(source):
    """A script's main that does nothing but this, as if it stood in one of our files."""
    code = compile(source, str(ROOT / "experiments" / "made_up.py"), "exec")

    def main(text: str = "x") -> None:
        exec(code, {name: globals()[name] for name in ("InputError", "InputFileError", "MissingFileError")})

    return main


@pytest.mark.parametrize("source", BUGS.values(), ids=BUGS)
def test_any_other_error_is_a_bug(source):
    with pytest.raises((ValueError, OSError)) as caught:
        cli(ends_with(source), args=[])
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize("source", MISTAKES.values(), ids=MISTAKES)
def test_bad_input_is_one_line(source, refusal):
    assert refusal(ends_with(source)) == "error: --lr x: no"


SCRIPT = """
from basics.errors import InputError
from harness.command_line.cli import cli

def main(text: str = "x") -> None:
    {line}

if __name__ == "__main__":
    cli(main)
"""


@pytest.mark.parametrize("bug", ["conversion", "unpacking", "plain"])
def test_script_with_a_bug_ends_with_a_traceback_and_status_1(tmp_path, bug):
    done = run_script(tmp_path / "bug.py", SCRIPT.format(line=BUGS[bug]))
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback") and BUGS[bug] in done.stderr
    assert "error: " not in done.stderr.replace("Error: ", "")


def test_script_of_another_checkout_does_not_run_with_this_one_s_code(tmp_path):
    theirs = tmp_path / "harness" / "command_line" / "cli.py"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    (tmp_path / "experiments").mkdir()
    done = run_script(tmp_path / "experiments" / "own.py", SCRIPT.format(line="print(text)"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'experiments' / 'own.py'}: is of the checkout {tmp_path}, but")
    assert f"PYTHONPATH={tmp_path}" in done.stderr


def test_script_with_bad_input_ends_with_one_line_and_status_2(tmp_path):
    done = run_script(tmp_path / "mistake.py", SCRIPT.format(line=MISTAKES["plain"]))
    assert (done.returncode, done.stderr) == (2, "error: --lr x: no\n")


def run_script(path, text):
    path.write_text(text)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=ROOT, env=import_from_here())


LONG = """
from harness.command_line.cli import cli

def main(lines: int = 200_000) -> None:
    for number in range(lines):
        print(number)
    {line}

if __name__ == "__main__":
    cli(main)
"""


@pytest.mark.parametrize(
    ("flags", "line", "status", "said"),
    [
        ([], "pass", 141, ""),  # while it prints
        (["--lines", "10"], "pass", 141, ""),  # when it has ended: all is still in the buffer
        (["--lines", "0"], "raise BrokenPipeError", 1, "BrokenPipeError"),  # of a pipe of its own: a bug
    ],
)
def test_reader_that_has_enough_ends_a_script_quietly(tmp_path, flags, line, status, said):
    (tmp_path / "long.py").write_text(LONG.format(line=line))
    command = [sys.executable, str(tmp_path / "long.py"), *flags]
    output, inlet = os.pipe()
    if not said:
        os.close(output)
    done = subprocess.run(command, stdout=inlet, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=import_from_here())
    os.close(inlet)
    assert done.returncode == status
    assert done.stderr.endswith(f"{said}\n") if said else not done.stderr


def test_reader_that_has_enough_ends_the_doctor_quietly():
    output, inlet = os.pipe()
    os.close(output)
    command = [sys.executable, str(ROOT / "experiments" / "doctor.py"), "--help"]
    done = subprocess.run(command, stdout=inlet, stderr=subprocess.PIPE, text=True, env=import_from_here())
    os.close(inlet)
    assert (done.returncode, done.stderr) == (141, "")


def import_from_here():
    return os.environ | {"PYTHONPATH": str(ROOT)}


def refuses(number):
    if number == 1:
        raise InputFileError("1: cannot be used")
    return number


def breaks(number):
    return int("x" * number)


def test_bad_input_in_a_process_of_a_pool_is_one_line(refusal):
    def main(text: str = "x") -> None:
        list(in_processes(refuses, [(0,), (1,), (2,)], workers=2, accelerators=0))

    assert refusal(main) == "error: 1: cannot be used"


def test_bug_in_a_process_of_a_pool_keeps_its_traceback():
    def main(text: str = "x") -> None:
        list(in_processes(breaks, [(1,), (2,)], workers=2, accelerators=0))

    with pytest.raises(ValueError, match="invalid literal") as caught:
        cli(main, args=[])
    assert not isinstance(caught.value, InputError)
    assert 'int("x" * number)' in str(caught.value.__cause__)  # of the other process


@pytest.mark.parametrize("kind", [InputError, InputFileError, MissingFileError])
def test_error_comes_whole_through_a_pickle(kind):
    error = pickle.loads(pickle.dumps(kind("a.csv: no such file")))
    assert (type(error), str(error)) == (kind, "a.csv: no such file")


FAULTS = {
    "missing": ("none.csv", MissingFileError, "no such file or folder"),
    "below a file": ("file/a.csv", MissingFileError, "no such file or folder"),
    "a folder": ("folder", InputFileError, "cannot be read (Is a directory)"),
    "too long": ("x" * 300, InputFileError, "cannot be read (File name too long)"),
}


@pytest.mark.parametrize(("name", "kind", "reason"), FAULTS.values(), ids=FAULTS)
def test_what_the_system_refuses_to_read_is_named(tmp_path, name, kind, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as caught, reading(tmp_path / name):
        (tmp_path / name).read_bytes()
    assert type(caught.value) is kind
    assert str(caught.value) == f"{tmp_path / name}: {reason}"


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--optimiser", "did you mean --optimizer?"),
        ("--maxepochs", "did you mean --max_epochs?"),
        ("--activation", "did you mean --net_args.activation?"),
        ("--dropping", "--help lists them"),
        ("--epochs", "did you mean --max_epochs?"),
        ("--trainer.max_epochs", "did you mean --max_epochs?"),
        ("--model", "did you mean --net?"),  # not --model_registry, of which it is the beginning
        ("--arch", "did you mean --net?"),
        ("--ckpt_path", "did you mean --resume?"),
        ("--gpus", "did you mean --devices?"),
        ("--batch", "did you mean --batch_size?"),
        ("max_epochs", "did you mean --max_epochs?"),
        ("lr=0.1", "did you mean --lr?"),
        ("--learning_rate", "did you mean --lr?"),  # what others call it
    ],
)
def test_flag_is_suggested_where_one_is_near(refusal, flag, said):
    assert refusal(mnist.main, flag, "1") == f"error: {flag.partition('=')[0]}: no such flag; {said}"


@pytest.mark.parametrize("flag", ["--max_epoch", "--optim", "--batch_siz"])
def test_beginning_of_a_flag_is_no_flag(refusal, flag):
    assert refusal(mnist.main, f"{flag}=1").startswith(f"error: {flag}: no such flag")


def test_suggestion_for_another_project_s_name_is_a_flag_of_the_script(refusal):
    assert "did you mean" not in refusal(compare.main, "runs", "--epochs", "1")  # which trains nothing
    known = flags_of(make_parser(mnist.main))
    assert {flag.partition(".")[0] for flag in ELSEWHERE.values()} <= set(known)
    assert not {f"--{name}" for name in ELSEWHERE} & set(known)


@pytest.mark.parametrize(
    ("name", "names", "near"),
    [
        ("sdg", ["sgd", "adam"], "sgd"),
        ("poly", ["plateau", "step", "linear"], ""),
        ("lion", ["muon", "adam"], ""),
        ("resnet20", ["resnet18", "resnet34", "resnet50"], ""),  # each as near as the other
        ("resnt18", ["resnet18", "resnet34", "resnet50"], "resnet18"),
        ("lenet6", ["lenet5", "softmax"], "lenet5"),
    ],
)
def test_name_is_suggested_where_it_may_be_misspelled(name, names, near):
    assert nearest(name, names) == near


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--precision", "bf16mixed"],
            "--precision bf16mixed: expected one of auto, 32-true, bf16-mixed, 16-mixed, bf16-true, 16-true, 64-true,"
            " transformer-engine, transformer-engine-float16, 64, 32, 16, bf16",
        ),
        (["--deterministic", "maybe"], "--deterministic maybe: expected bool or warn"),
        (["--max_epochs", "many"], "--max_epochs many: expected int"),
        (["--config", "/nope.yaml"], "--config /nope.yaml: no such file"),
        (["--config", "/"], "--config /: is not a file"),
        (
            ["--sample", "--net", "softmax", "--accelerator", "cpu", "--profiler", "foo"],
            "profiler 'foo': no such profiler; There are advanced, pytorch, simple, xla",
        ),
    ],
)
def test_wrong_value_is_told_what_there_is(refusal, flags, said):
    assert refusal(mnist.main, *flags) == f"error: {said}"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--barebones"], "barebones: switches off the curves and checkpoints"),
        (["--enable_checkpointing", "false"], "enable_checkpointing false: a run needs checkpoints"),
    ],
)
def test_what_a_run_is_made_of_cannot_be_switched_off(refusal, flags, said):
    line = refusal(mnist.main, "--sample", "--net", "softmax", "--accelerator", "cpu", *flags)
    assert line.startswith(f"error: {said}")


def test_what_the_system_refuses_to_write_is_named(tmp_path):
    with pytest.raises(InputFileError) as caught, writing(tmp_path):
        tmp_path.write_text("")
    assert str(caught.value) == f"{tmp_path}: cannot be written (Is a directory)"


@pytest.mark.parametrize("opened", [reading, writing])
def test_other_errors_pass(opened):
    for error in (InputFileError("a.csv: cannot be listed"), ValueError("a bug")):
        with pytest.raises(type(error)) as caught, opened("b.csv"):
            raise error
        assert caught.value is error


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_raises_what_would_be_taken_for_a_bug(package):
    builtin = {"ValueError", "OSError", "FileNotFoundError", "FileExistsError", "NotADirectoryError", "PermissionError"}
    for file in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            raised = node.exc if isinstance(node, ast.Raise) else None
            name = getattr(raised.func if isinstance(raised, ast.Call) else raised, "id", None)
            assert name not in builtin, f"{file}, line {node.lineno}: raise {name}"


def two(checkpoint: str, lr: float = 1.0) -> tuple[str, float]:
    return checkpoint, lr


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["--config", "{file}"], ("of the file", 5)),
        (["--config={file}", "--lr", "2"], ("of the file", 2)),
        (["--lr", "2", "--config={file}"], ("of the file", 2)),
        (["typed", "--config", "{file}"], ("typed", 5)),
        (["--lr", "2", "--config", "{file}", "typed"], ("typed", 2)),
    ],
)
def test_what_is_typed_overrides_a_file_wherever_that_is_named(tmp_path, typed, meant):
    (tmp_path / "config.yaml").write_text("checkpoint: of the file\nlr: 5\n")
    args = [word.format(file=tmp_path / "config.yaml") for word in typed]
    assert cli(two, args=args) == meant
