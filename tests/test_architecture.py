"""The packages' imports point one way: experiments -> harness -> lit_modules, datamodules, callbacks -> basics."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "basics": set(),
    "lit_modules": {"basics"},
    "datamodules": {"basics"},
    "callbacks": {"basics"},
    "harness": {"basics", "lit_modules", "datamodules", "callbacks"},
}
PACKAGES = {"experiments", *MAY_IMPORT}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_those_below_it_only(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in PACKAGES - {package} - MAY_IMPORT[package], f"{file} imports {name}"
