"""Untrusted YAML is refused before anything recurses over it, wherever it comes from."""

import json
import re
from itertools import pairwise

import pytest
import yaml

from basics.yaml_text import ALIASES, DEEPEST, check_yaml, load_yaml
from experiments import mnist
from harness.comparing.run_files import read_runs

TOO_DEEP = f"more than {DEEPEST} deep|nesting depth"  # libyaml has a limit of its own, from 0.2.6 on


def lists(depth):
    return "[" * depth + "]" * depth


DEEP = {
    "lists": lists(5000),
    "very deep lists": lists(200_000),
    "lists that are not closed": "[" * 200_000,
    "one list too many": lists(DEEPEST + 1),
    "dicts in flow": "{a: " * 5000 + "1" + "}" * 5000,
    "dicts in blocks": "".join(" " * i + "a:\n" for i in range(500)),
    "lists in blocks": "- " * 5000 + "1",
    "keys": "? " * 5000 + "1",
    "within an alias": f"a: &a {lists(DEEPEST - 10)}\nb: {'[' * 10}*a{']' * 10}\n",
    "by aliases of aliases": "a: &a [1]\n"
    + "".join(f"{b}: &{b} [[[[*{a}]]]]\n" for a, b in pairwise("abcdefghijklmn")),
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_text_that_is_too_deep_is_refused_before_it_is_read(text):
    with pytest.raises(yaml.YAMLError, match=TOO_DEEP):
        load_yaml(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &a [1, *a]", "within itself"),
        ("&a {b: [*a]}", "within itself"),
        ("a: &a 1\nb: [" + "*a," * (ALIASES + 1) + "]", f"more than {ALIASES} aliases"),
        ("a: [1", "expected"),
        ("--- 1\n--- 2", "single document"),
        ("!!python/object/apply:os.system [exit]", "could not determine a constructor"),
    ],
)
def test_other_text_is_refused_with_its_reason(text, why):
    with pytest.raises(yaml.YAMLError, match=why):
        load_yaml(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        (b"a: {b: [1, 2.5, null]}", {"a": {"b": [1, 2.5, None]}}),
        ("a: &a [1]\nb: [*a, [*a]]", {"a": [1], "b": [[1], [[1]]]}),
        ("a: '" + "*" * 100 + "'", {"a": "*" * 100}),  # these are no aliases
        ("[" + "[1]," * 1000 + "]", [[1]] * 1000),  # wide is not deep
        (lists(DEEPEST), json.loads(lists(DEEPEST))),
    ],
)
def test_everything_else_is_read(text, value):
    check_yaml(text)
    assert load_yaml(text) == value


@pytest.mark.parametrize("flag", ["net_args", "plugins", "lr"])
@pytest.mark.parametrize("depth", [200, 5000])
@pytest.mark.parametrize("inline", [True, False])
def test_value_on_the_command_line_that_is_too_deep_is_one_line(refusal, flag, depth, inline):
    value = [f"--{flag}={lists(depth)}"] if inline else [f"--{flag}", lists(depth)]
    line = refusal(mnist.main, "--sample", *value)
    assert "[[[" in line
    assert len(line) < 2000
    assert depth > 1000 or re.search(TOO_DEEP, line)


@pytest.mark.parametrize("depth", [DEEPEST + 1, 900, 5000, 200_000])
def test_config_file_that_is_too_deep_says_so(tmp_path, refusal, depth):
    (tmp_path / "deep.yaml").write_text(f"net_args: {lists(depth)}\n")
    assert re.search(TOO_DEEP, refusal(mnist.main, "--config", str(tmp_path / "deep.yaml")))


@pytest.mark.parametrize(("name", "depth"), [("config.yaml", 900), ("config.yaml", 5000), ("metrics.json", 200_000)])
def test_run_with_deep_files_is_left_out_of_a_comparison(tmp_path, name, depth):
    run = tmp_path / "mnist" / "run"
    run.mkdir(parents=True)
    for file in ("config.yaml", "metrics.json"):
        (run / file).write_text('{"a": ' + (lists(depth) if file == name else "1") + "}")
    (read,) = read_runs([tmp_path])
    assert read.problem.startswith(f"{name} cannot be read: ")
