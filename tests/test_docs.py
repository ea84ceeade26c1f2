"""What the documents name is there: files, tests, targets of make."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {document.name: document.read_text() for document in DOCUMENTS}


@pytest.mark.parametrize("name", TEXTS)
def test_tests_and_benchmarks_that_a_document_names_are_there(name):
    for path, test in re.findall(r"((?:tests|benchmarks)/[\w/]+\.py)(?:::(\w+))?", TEXTS[name]):
        assert (ROOT / path).is_file(), path
        assert f"def {test}" in (ROOT / path).read_text(), test


@pytest.mark.parametrize("document", DOCUMENTS, ids=TEXTS)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_targets_of_make_are_those_that_documents_name():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for text in TEXTS.values() for name in re.findall(r"make ((?:test-)?[a-z]+)`", text)}
    assert named <= targets, named - targets
    assert {"test", "test-slow", "test-cuda", "torture", "bench"} <= named
    assert targets - named <= {"lint", "format", "clean"}  # for `make help` alone
