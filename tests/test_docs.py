"""What the documents name exists: files, tests, headings, modules and make targets."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
TEXTS = {document.relative_to(ROOT).as_posix(): document.read_text() for document in DOCUMENTS}


def anchors(document):
    """What a link to a heading of the document may end with, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_documents_of_every_folder_are_looked_at():
    assert {"README.md", "CONTRIBUTING.md", "docs/architecture.md", "benchmarks/house_prices.md"} <= set(TEXTS)


@pytest.mark.parametrize("name", TEXTS)
def test_tests_and_benchmarks_that_a_document_names_are_there(name):
    for path, test in re.findall(r"((?:tests|benchmarks)/[\w/]+\.py)(?:::(\w+))?", TEXTS[name]):
        assert (ROOT / path).is_file(), path
        assert f"def {test}" in (ROOT / path).read_text(), test


@pytest.mark.parametrize("document", DOCUMENTS, ids=TEXTS)
def test_links_lead_somewhere(document):
    for target, anchor in re.findall(r"\]\(([^)#:]*)#?([\w-]*)\)", document.read_text()):
        place = document.parent / target if target else document
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), f"{target}#{anchor}"


def test_targets_of_make_are_those_that_documents_name():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for text in TEXTS.values() for name in re.findall(r"make ((?:test-)?[a-z]+)`", text)}
    assert named <= targets, named - targets
    assert {"test", "test-slow", "test-cuda", "torture", "bench"} <= named
    assert targets - named <= {"lint", "format", "clean"}  # for `make help` alone


def test_architecture_names_the_modules_of_each_package():
    _, *parts = re.split(r"^### `([a-z_/]+)/`$", TEXTS["docs/architecture.md"], flags=re.MULTILINE)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    packages = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("harness/*/__init__.py")}
    assert packages | {"basics", "callbacks", "datamodules", "experiments", "lit_modules"} <= set(sections)
    for package, section in sections.items():
        modules = " ".join(re.findall(r"^- (`.*?`):", section, re.MULTILINE))
        named = set(re.findall(r"`([a-z_0-9]+)`", modules))
        there = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
        assert named <= there, f"{package}: {named - there}"
        if not package.startswith("experiments"):  # scripts are in the README, parts of the studies in their scripts
            unnamed = {name for name in there - named if not name.endswith("_figures")}
            assert not unnamed, f"{package}: {unnamed}"
