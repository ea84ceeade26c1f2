"""The packages' imports point one way: experiments -> lit_modules, datamodules, callbacks."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"experiments", "lit_modules", "datamodules", "callbacks"}


@pytest.mark.parametrize("package", sorted(PACKAGES - {"experiments"}))
def test_package_imports_no_other_package(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in PACKAGES - {package}, f"{file} imports {name}"
