"""Imports point one way: the table says which package may import which, and no module imports itself indirectly."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = {"lit_modules", "datamodules", "callbacks"}
MAY_IMPORT = {
    "basics": set(),
    "lit_modules": {"basics"},
    "datamodules": {"basics"},
    "callbacks": {"basics"},
    "harness.processes": {"basics", "callbacks"},
    "harness.runs": {"basics", "datamodules", "harness.processes"},
    "harness.command_line": {"basics", "lit_modules", "harness.processes", "harness.runs"},
    "harness.drawing": {"basics", *PARTS},
    "harness.training": {"basics", *PARTS, "harness.drawing", "harness.processes", "harness.runs"},
    "harness.checking": {"basics", *PARTS, "harness.runs", "harness.training"},
    "harness.comparing": {"basics", "harness.drawing", "harness.processes", "harness.runs"},
    "harness.tasks": {
        *("basics", *PARTS),
        *("harness.checking", "harness.drawing", "harness.processes", "harness.runs", "harness.training"),
    },
    "harness.serving": {"basics", *PARTS, "harness.drawing", "harness.runs", "harness.tasks"},
}
PACKAGES = {package.partition(".")[0] for package in MAY_IMPORT}
SCRIPTS = sorted(path.stem for path in (ROOT / "experiments").glob("*.py"))


def modules():
    """All modules of the packages below the scripts, by their names."""
    files = [file for package in sorted(PACKAGES) for file in sorted((ROOT / package).rglob("*.py"))]
    return {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imported(file: Path, known: set[str]) -> Iterator[str]:
    """The modules of the project that the file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:  # `from package import module` names the module
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2]) if module.startswith("harness.") else module.partition(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_those_of_the_table_only(package):
    known = modules()
    files = {name: file for name, file in known.items() if name == package or name.startswith(f"{package}.")}
    assert files
    for name, file in files.items():
        for other in imported(file, set(known)):
            if other.partition(".")[0] in PACKAGES | {"experiments"}:
                assert package_of(other) in MAY_IMPORT[package] | {package}, f"{name} imports {other}"


def test_every_package_is_in_the_table():
    found = {package_of(name) for name in modules()} - {"harness"}
    assert found == set(MAY_IMPORT)


def test_arrows_of_the_table_make_no_circle():
    assert len(list(TopologicalSorter(MAY_IMPORT).static_order())) == len(MAY_IMPORT)


def test_no_module_imports_itself_by_a_detour():
    """Also not where an import stands in a function; packages, which name what is in them, are left out."""
    known = modules()
    inner = {name: file for name, file in known.items() if file.stem != "__init__"}
    arrows = {name: {other for other in imported(file, set(known)) if other in inner} for name, file in inner.items()}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_no_script_imports_another():
    for script in SCRIPTS:
        for other in imported(ROOT / "experiments" / f"{script}.py", {f"experiments.{name}" for name in SCRIPTS}):
            assert other not in {f"experiments.{name}" for name in SCRIPTS}, f"{script} imports {other}"
