"""The fast tests on the oldest and the newest releases that requirements.txt allows; writes docs/versions.md.

    make test-versions
    .venv/bin/python tests/versions.py oldest-3.10      one of them; the page keeps the others' results

Each environment is made anew below .venv-versions, from uv's cache if that has the packages. Versions of Python come
from the path and pyenv; uv downloads a missing one, and if it cannot, this ends with uv's message.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".venv-versions"
PAGE = ROOT / "docs" / "versions.md"
UV = str(ROOT / ".venv" / "bin" / "uv")
ENVIRONMENTS = {  # Python's version, and which releases uv takes
    "oldest-3.10": ("3.10", "lowest-direct"),
    "newest-3.12": ("3.12", "highest"),
    "newest-3.13": ("3.13", "highest"),
}
FAST = ["-n", "2", "--dist", "worksteal", "-m", "not slow and not torture and not grid"]
HEAD = """# Versions

`make test-versions` runs the fast tests on the oldest releases that `requirements.txt` allows and on the newest, and
writes this table.

"""


def make_environment(name: str) -> str:
    """Makes it anew, and returns its interpreter."""
    version, resolution = ENVIRONMENTS[name]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = os.pathsep.join(str(path) for path in sorted(pyenv.glob(f"{version}.*/bin")))
    env = os.environ | {"PATH": os.pathsep.join([found, os.environ["PATH"]])}
    python = str(PLACE / name / "bin" / "python")
    subprocess.run([UV, "venv", "--clear", "--python", version, str(PLACE / name)], env=env, check=True)
    install = [UV, "pip", "install", "--quiet", "--python", python, "--resolution", resolution]
    subprocess.run([*install, "-r", str(ROOT / "requirements.txt")], check=True)
    return python


def test(name: str) -> None:
    """Runs the tests; leaves their results and the versions they ran with beside the environment."""
    python = make_environment(name)
    results = PLACE / f"{name}.xml"
    results.unlink(missing_ok=True)
    # A folder of its own: pytest's usual one is shared with, and tidied by, every other run of tests on the machine.
    options = [f"--junitxml={results}", f"--basetemp={PLACE / name}-tmp"]
    subprocess.run([python, "-m", "pytest", *FAST, *options], cwd=ROOT, check=False)
    listed = subprocess.run(
        [UV, "pip", "list", "--python", python, "--format", "json"], check=True, capture_output=True
    )
    full = subprocess.run([python, "-c", "import platform; print(platform.python_version())"], capture_output=True)
    versions = {row["name"].lower(): row["version"] for row in json.loads(listed.stdout)}
    versions["python"] = full.stdout.decode().strip()
    (PLACE / f"{name}.json").write_text(json.dumps(versions))


def count(results: Path) -> dict[str, int]:
    """How many tests passed, failed and were skipped, of a JUnit file; none where the run left none."""
    if not results.is_file():
        return {"passed": 0, "failed": 0, "skipped": 0}
    suite = next(ElementTree.parse(results).iter("testsuite"))
    tests, errors, failures, skipped = (int(suite.get(kind)) for kind in ("tests", "errors", "failures", "skipped"))
    return {"passed": tests - errors - failures - skipped, "failed": errors + failures, "skipped": skipped}


def is_green(counts: dict[str, int]) -> bool:
    return counts["passed"] > 0 and counts["failed"] == 0


def write_page(requirements: str, columns: dict[str, tuple[dict[str, str], dict[str, int]]]) -> str:
    """The table: a row for Python, each requirement and the results, a column for each environment."""
    packages = ["python", *(re.split(r"[^\w-]", line)[0] for line in requirements.splitlines() if line[:1].isalpha())]
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    rows += [[name, *(versions.get(name.lower(), "") for versions, _ in columns.values())] for name in packages]
    for kind in ("passed", "failed", "skipped"):
        rows.append([f"**{kind}**", *(f"{counts[kind]:,}" for _, counts in columns.values())])
    return HEAD + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def main(names: list[str]) -> None:
    for name in names:
        test(name)
    columns = {
        name: (json.loads((PLACE / f"{name}.json").read_text()), count(PLACE / f"{name}.xml"))
        for name in ENVIRONMENTS
        if (PLACE / f"{name}.json").is_file()
    }
    PAGE.write_text(write_page((ROOT / "requirements.txt").read_text(), columns))
    failed = [name for name in ENVIRONMENTS if name not in columns or not is_green(columns[name][1])]
    sys.exit(f"not green: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:] or list(ENVIRONMENTS))
