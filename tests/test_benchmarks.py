"""The benchmarks run from their command lines, on samples; real figures need a quiet machine and real data."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from photos import photos

from benchmarks import engines
from benchmarks.report_table import Check, Results

ROOT = Path(__file__).parents[1]


def benchmark(name, *flags):
    command = [sys.executable, f"benchmarks/{name}.py", *flags]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_pipeline_prints_a_ratio_above_one():
    printed = benchmark("pipeline", "--sample", "true", "--batch_size", "64", "--rounds", "3", "--workers", "1")
    assert float(re.search(r"ours / usual: ([\d.]+)", printed)[1]) > 1


@pytest.mark.slow
def test_decoding_prints_a_ratio_for_each_size(tmp_path):
    photos(tmp_path, ant=3, bee=3)
    printed = benchmark("decoding", str(tmp_path), "--sizes", "[16, 32]", "--rounds", "1", "--images", "6")
    assert re.findall(r"^(\d+) x \1: [\d,]+ images/s", printed, re.M) == ["16", "32"]
    assert len(re.findall(r"^ours / plain: [\d.]+", printed, re.M)) == 2


@pytest.mark.slow
def test_growth_prints_both_tables():
    printed = benchmark("growth", "--sample", "true", "--nets", "[softmax]", "--batch_sizes", "[16]")
    assert [line.split(" | ")[0] for line in printed.splitlines() if re.match(r"\| \dx", line)] == [
        "| 1x",
        "| 2x",
        "| 4x",
    ]
    assert re.search(r"\| softmax \| 16 \| \d+", printed)


@pytest.mark.slow
def test_race_trains_both_networks(tmp_path):
    printed = benchmark("recipes", "race", "--sample", "true", "--seeds", "1", "--run_dir", str(tmp_path))
    assert re.findall(r"^\| (speednet|resnet18) \| 0 \| 1 ", printed, re.M) == ["speednet", "resnet18"]


@pytest.mark.slow
def test_accuracy_follows_the_recipes(tmp_path):
    flags = ["--nets", "[speednet,cnn]", "--seeds", "2", "--run_dir", str(tmp_path), "--sample", "true"]
    printed = benchmark("recipes", "accuracy", *flags)
    assert len(re.findall(r"^\| (?:speednet|cnn) \| [01] \|", printed, re.M)) == 4


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_throughput_compares_with_a_bare_loop(precision):
    flags = ["--net", "cnn", "--batch_size", "50", "--rounds", "1", "--precision", precision, "--sample", "true"]
    assert float(re.search(r"ours / bare: ([\d.]+)", benchmark("recipes", "throughput", *flags))[1]) > 0.1


@pytest.mark.slow
def test_house_prices_puts_networks_beside_trees(tmp_path):
    flags = ["--nets", "[linear]", "--folds", "2", "--run_dir", str(tmp_path), "--sample", "true"]
    printed = benchmark("house_prices", *flags)
    rows = re.findall(r"^\| (\w+) \| (\w+) \| ([\d.]+) \| [\d.]+, [\d.]+ \|", printed, re.M)
    assert [row[0] for row in rows[:3]] == ["linear", "hist_gradient_boosting", "hist_gradient_boosting"]
    assert all(0.05 < float(row[2]) < 0.3 for row in rows[1:])  # the noise is 0.08, and prices vary by 0.35


@pytest.mark.slow
def test_tables_are_put_beside_trees_and_a_linear_model(tmp_path):
    rng = np.random.default_rng(0)
    x, town, noise = rng.normal(size=400), rng.choice(["A", "B"], 400), rng.normal(size=400)
    line = 3 * x + 5 * (town == "B") + noise
    pd.DataFrame({"x": x, "town": town, "y": line}).to_csv(tmp_path / "line.csv", index=False)
    pd.DataFrame({"x": x, "kind": np.where(x + noise > 0, "yes", "no")}).to_csv(tmp_path / "kinds.csv", index=False)
    tables = "line: {csv: line.csv, target: y}\nkinds: {csv: kinds.csv, target: kind, task: classification}\n"
    (tmp_path / "tables.yaml").write_text(tables)
    printed = benchmark("tables", str(tmp_path), str(tmp_path / "tables.yaml"), "--run_dir", str(tmp_path / "runs"))
    rows = dict(re.findall(r"^\| (line|kinds) \| (?:rmse|log_loss) \| (.+) \| .+ \| .+ \|", printed, re.M))
    ours, linear, *_ = (float(cell) for cell in rows["line"].split(" | "))
    assert linear == pytest.approx(1, abs=0.25)  # the noise
    assert ours < 1.5 * linear
    ratios = [float(ratio) for ratio in re.findall(r"\| ([\d.]+) \| [\d., ]+ \|$", printed, re.M)]
    mean = float(re.search(r"geometric mean of ours / best ([\d.]+)", printed)[1])
    assert mean == pytest.approx(np.exp(np.mean(np.log(ratios))), abs=2e-3)


@pytest.mark.slow
def test_speedrun_times_each_run(tmp_path):
    flags = ["--runs", "2", "--accelerator", "cpu", "--sample", "true", "--run_dir", str(tmp_path)]
    printed = benchmark("recipes", "speedrun", *flags, "--recipe.lr", "0.01", "--recipe.momentum", "0.7")
    runs = [(float(share), float(seconds)) for share, seconds in re.findall(r"seed \d: (.+)% in (.+) s", printed)]
    mean, spread, seconds = re.search(
        r"speedrun: (.+)%, standard deviation (.+)%, in (.+) s; mean of 2", printed
    ).groups()
    assert len(runs) == 2 == len(list(tmp_path.glob("cifar10/*")))
    assert float(mean) == pytest.approx((runs[0][0] + runs[1][0]) / 2, abs=0.01)
    assert float(spread) == pytest.approx(abs(runs[0][0] - runs[1][0]) / 2**0.5, abs=0.02)
    assert float(seconds) == pytest.approx((runs[0][1] + runs[1][1]) / 2, abs=0.01)
    kept = next(tmp_path.glob("cifar10/*/config.yaml")).read_text().splitlines()
    assert {"lr: 0.01", "momentum: 0.7"} <= set(kept)


@pytest.mark.slow
def test_accelerator_reports_every_part():
    printed = benchmark("accelerator", "--accelerator", "cpu", "--sample", "true", "--minutes", "20")
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")][2:]
    parts = [part for part, *_ in rows]
    assert list(dict.fromkeys(parts)) == ["exact", "steps", "usual", "price", "speedrun", "resnet18", "compile"]
    results = {(part, what): result for part, what, result in rows}
    for net in ("lenet5", "cnn", "resnet18", "speednet", "tabm"):
        assert results["exact", net] == "twice: identical; killed and resumed: identical; captured: needs CUDA"
    assert all(float(re.search(r"ours, eager / bare: (.+)", row[2])[1]) > 0 for row in rows if row[0] == "steps")
    assert parts.count("steps") == 6  # of one small batch size
    assert not [row for row in rows if "failed" in row[2] or "left out" in row[2]]


def test_a_check_that_fails_or_has_no_time_leaves_a_line(capsys):
    def fail():
        raise RuntimeError("of two\nlines | and a bar")

    results = Results(seconds=30)
    for check in (
        Check("part", "one", 0, fail),
        Check("part", "two", 60, fail),
        Check("part", "three", 1, lambda: "3"),
    ):
        results.add(check)
    told = ["RuntimeError: of two lines / and a bar", "left out: 30 s left, 60 s needed", "3"]
    assert [row[2] for row in results.rows] == [f"failed: {told[0]}", *told[1:]]
    assert results.table().splitlines()[2:] == [f"| {' | '.join(row)} |" for row in results.rows]
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.slow
def test_pictures_prints_their_share():
    printed = benchmark("pictures", "--sample", "--epochs", "1", "--rounds", "1")
    assert len(re.findall(r"^(?:pictures|drawing alone): -?[\d.]+% ", printed, re.M)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--rounds", "0"], ["--jobs", "0"], ["--folder", "/nowhere"]])
def test_engines_says_what_it_cannot_measure(flags, refusal):
    assert refusal(engines.main, *flags).startswith(f"error: {flags[0][2:]} {flags[1]}: ")


def test_engines_times_the_calls_of_all_jobs():
    printed = benchmark("engines", "--jobs", "2", "--rounds", "1")
    line = r"local: a call begins after \d+\.\d s; its result is here \d+\.\d s later\n"
    assert re.match(line + "import of torch: ", printed)


@pytest.mark.slow
def test_launches_counts_both_loops_and_says_where():
    printed = benchmark("launches", "--nets", "[lenet5]", "--optimizers", "[sgd]", "--where", "true")
    loops = re.findall(r"^\| lenet5 \| sgd \| (\w+) \| \d+ \| 1 \| \d+ \| \d+ \| 0 \|$", printed, re.M)
    assert loops == ["bare", "ours"]
    assert "lenet5 sgd ours: sub lit_modules/normalise.py:" in printed
    assert "lenet5 sgd bare: sub benchmarks/launches.py:" in printed
