"""Workers on one study in a real PostgreSQL: two are killed, the server crashes, and no trial is lost or double."""

import os
import subprocess
import sys
import time
from collections import Counter

import optuna
from fold_runs import ROOT, wait_for
from optuna.trial import TrialState
from postgres_server import PASSWORD

from experiments import sweep
from harness.comparing.configurations import is_live
from harness.comparing.scripts import finished, split_command

TRIALS, WORKERS = 20, 10
SCRIPT = ["mnist.py", "--sample", "--net", "softmax", "--accelerator", "cpu", "--max_epochs", "8"]
VARY = ["--vary", "lr=0.001..0.1:log", "--trials", str(TRIALS)]


def test_each_trial_is_done_once_though_two_workers_and_the_server_die(postgres, tmp_path):
    own = ["--run_dir", str(tmp_path), "--storage", postgres.url, "--heartbeat", "1"]
    command = [sys.executable, "experiments/sweep.py", *own, *SCRIPT, *VARY]
    workers = []
    for number in range(WORKERS):
        with (tmp_path / f"worker{number}.txt").open("w") as log:
            workers.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
    try:
        said = [tmp_path / f"worker{number}.txt" for number in range(WORKERS)]
        wait_for(lambda: all("trials" in path.read_text() for path in said))
        wait_for(lambda: next(tmp_path.glob("sweep/*/trial*/mnist/*/checkpoints/last.ckpt"), None))
        workers[0].kill()
        postgres.stop()
        time.sleep(3)
        postgres.start()
        workers[1].kill()
        assert {worker.wait(500) for worker in workers[2:]} == {0}
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    (folder,) = (tmp_path / "sweep").iterdir()
    study = optuna.load_study(study_name=folder.name, storage=postgres.url)
    done = [trial for trial in study.trials if is_live(trial) and trial.state.is_finished()]
    counts = Counter(trial.params["lr"] for trial in done)
    assert len(counts) == TRIALS
    assert set(counts.values()) == {1}
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in done)
    complete = [trial for trial in done if trial.state == TrialState.COMPLETE]
    assert all(finished(folder / trial.user_attrs["folder"]) for trial in complete)
    assert len({trial.user_attrs["folder"] for trial in done}) == TRIALS
    secret = PASSWORD.encode()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_bytes()]


def refused(refusal, url):
    return refusal(sweep.main, *sweep.join_vary(split_command(["--storage", url, *SCRIPT, *VARY], sweep.OWN)))


def test_a_server_that_does_not_answer_is_one_line(postgres, refusal):
    assert "refused" in refused(refusal, postgres.url.replace(str(postgres.port), "9"))


def test_a_wrong_password_is_one_line(postgres, refusal, monkeypatch):
    monkeypatch.setitem(os.environ, "PGPASSWORD", "wrong-one")
    line = refused(refusal, postgres.url)
    assert "password authentication failed" in line
    assert "wrong-one" not in line
