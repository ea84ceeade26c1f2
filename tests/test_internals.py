"""Internals of Lightning, torch, jsonargparse and argparse are used in a file or two for each, with reasons."""

import ast
import functools
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("basics", "callbacks", "datamodules", "experiments", "harness", "lit_modules")
THE_FILES = (
    "basics/lean_trainer.py",
    "basics/lightning_internals.py",
    "basics/torch_internals.py",
    "harness/command_line/parser_internals.py",
)
LIBRARIES = ("lightning", "torch", "jsonargparse", "argparse")
LOOPS = ("fit_loop", "epoch_loop", "batch_progress", "epoch_progress", "launcher.procs")  # Lightning's, without a _
DOCUMENTED = ("torch._foreach_", "os._exit", "sys._current_frames", "._asdict", "._fields", "._replace")


def touched(source):
    """The internals of others that the code names: attributes with one underscore, and Lightning's loops."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            text, name = ast.unparse(node), node.attr
            is_own = name in own or ast.unparse(node.value) in ("self", "cls", "super()")
            if name in LOOPS or (_is_private(name) and not is_own and not any(its in text for its in DOCUMENTED)):
                yield text
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and (_is_private(name.value) or name.value in LOOPS):
                yield ast.unparse(node)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and node.slice.value in LOOPS:
            yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            for name in [*node.module.split("."), *(alias.name for alias in node.names)]:
                if _is_private(name):
                    yield ast.unparse(node)


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


def test_internals_of_libraries_are_named_in_their_files_only():
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(files) > 100
    found = {str(path.relative_to(ROOT)): list(touched(path.read_text())) for path in files}
    assert {name: its for name, its in found.items() if its and name not in THE_FILES} == {}
    assert all(found[name] for name in THE_FILES)


def classes():
    """All classes of the packages."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for its in vars(importlib.import_module(name)).values():
                if inspect.isclass(its) and its.__module__ == name:
                    yield its


def test_classes_that_inherit_from_a_library_use_no_attribute_that_it_keeps_to_itself():
    inheriting = 0
    for its in classes():
        bases = [base for base in its.__mro__ if base.__module__.split(".")[0] in LIBRARIES]
        inheriting += bool(bases)
        theirs = {name for base in bases for name in private_names(base)}
        allowed = f"{its.__module__.replace('.', '/')}.py" in THE_FILES
        assert allowed or private_names(its) & theirs == set(), its
    assert inheriting > 30


@functools.cache
def private_names(its):
    """The names with one underscore that the methods of a class itself use."""
    methods = [getattr(member, "fget", None) or inspect.unwrap(member) for member in vars(its).values()]
    codes = [method.__code__ for method in methods if inspect.isfunction(method)]
    return {name for code in codes for name in code.co_names if _is_private(name)}


@pytest.mark.parametrize("name", THE_FILES)
def test_each_touch_has_its_reason_and_the_file_its_versions(name):
    tree = ast.parse((ROOT / name).read_text())
    assert "checked on" in ast.get_docstring(tree)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]
    assert functions
    assert [node.name for node in functions if not ast.get_docstring(node)] == []


@pytest.mark.parametrize(
    "source",
    [
        "trainer._signal_connector.x = 1",
        "self.trainer._results",
        "x = trainer.fit_loop.batch_idx",
        "checkpoint['loops']['fit_loop']",
        "getattr(action, '_typehint', None)",
        "from torch.nn.modules.conv import _ConvNd",
        "from torch._inductor import config",
    ],
)
def test_a_touch_is_found(source):
    assert list(touched(source))


OURS = ["self._x", "super()._read(1)", "os._exit(1)", "torch._foreach_add_(a, b)", "x.__dict__"]


@pytest.mark.parametrize("source", OURS)
def test_what_is_ours_or_documented_is_none(source):
    assert not list(touched(source))
