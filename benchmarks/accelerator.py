"""Everything to measure on a GPU, in one process and a few minutes: exactness, speed, accuracy.

    python benchmarks/accelerator.py                                  six minutes on an H100
    python benchmarks/accelerator.py --parts exact,steps --minutes 3
    python benchmarks/accelerator.py --accelerator cpu --sample true  only shows that it works; the figures mean nothing

    exact      trainings by the scripts' recipes: run twice; killed and resumed; captured against eager
    steps      milliseconds per training step: a bare loop, the same as one CUDA graph, ours captured and eager
    usual      images per second of LeNet-5 in the pipeline that most projects have (see benchmarks/overhead.py)
    price      the price of determinism: a captured step with and without it
    speedrun   benchmarks/recipes.py speedrun: speednet on CIFAR-10, five times
    resnet18   the recipe of ResNet-18, for as many epochs as there is time
    compile    a step of ours with --compile, if time is left, as after `--parts steps,compile`

Each line is printed as soon as it is known, and at the end all of them as one markdown table. Parts for which too
little time is left are skipped, and a failure takes one line. The minutes do not include the imports, which may take
half a minute.
"""

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jsonargparse import auto_cli

from basics.choose import choose
from basics.versions import git_commit
from benchmarks import exactness, overhead, recipes, step_times
from benchmarks.report_table import Check, Results, attempt
from benchmarks.step_times import Case, Window
from benchmarks.stopping import until_stopped
from datamodules import CIFAR10
from experiments import cifar10
from harness.tasks.classification import classify
from harness.training.report import cpu

NEEDS_CUDA = "needs CUDA"
SMALL = dict(batch_size=2, precision="32-true")  # for a CPU


class Setting(NamedTuple):
    """What all parts need to know.

    Attributes:
        sample: use steps of a few images, and no files.
        left: returns the seconds that are left.
    """

    accelerator: str
    sample: bool
    data_dir: str
    left: Callable[[], float]

    @property
    def window(self) -> Window:
        return Window(1, 2) if self.sample else Window()

    @property
    def cuda(self) -> bool:
        return self.accelerator == "cuda"

    def cases(self, *cases: Case) -> list[Case]:
        """The cases as they are, or small ones for a CPU."""
        return list(dict.fromkeys(case._replace(**SMALL) for case in cases)) if self.sample else list(cases)

    def lacks_data(self) -> str:
        """Says so if CIFAR-10 is needed and missing; else empty."""
        folder = Path(self.data_dir, CIFAR10.name)
        return "" if self.sample or folder.is_dir() else f"left out: no {folder}"


def exact(setting: Setting) -> Iterator[Check]:
    for name in exactness.TRAININGS:
        yield Check("exact", name, 20, partial(exactness.compare, name, setting.accelerator, setting.sample))


def steps(setting: Setting) -> Iterator[Check]:
    for case in setting.cases(*step_times.CASES):
        yield Check("steps", str(case), 15, partial(step_row, case, setting))


def usual(setting: Setting) -> Iterator[Check]:
    for case in setting.cases(Case("lenet5", 64, "32-true"), Case("lenet5", 256, "32-true")):
        yield Check("usual", str(case), 10, partial(usual_row, case, setting))


def price(setting: Setting) -> Iterator[Check]:
    for case in setting.cases(Case("resnet18", 512), Case("cnn", 128)):
        yield Check("price", str(case), 10, partial(price_row, case, setting))


def speedrun(setting: Setting) -> Iterator[Check]:
    yield Check("speedrun", "speednet", 60, partial(speedrun_row, setting))


def resnet18(setting: Setting) -> Iterator[Check]:
    yield Check("resnet18", "its recipe, cut short", 40, partial(resnet18_row, setting))


def compiled(setting: Setting) -> Iterator[Check]:
    for case in setting.cases(Case("lenet5", 64, "32-true"), Case("cnn", 128), Case("resnet18", 128)):
        yield Check("compile", str(case), 60, partial(compiled_row, case, setting))


PARTS: dict[str, Callable[[Setting], Iterator[Check]]] = {
    "exact": exact,
    "steps": steps,
    "usual": usual,
    "price": price,
    "speedrun": speedrun,
    "resnet18": resnet18,
    "compile": compiled,
}


def step_row(case: Case, setting: Setting) -> str:
    """Milliseconds of each way, and the ratios of ours to the bare ones."""
    ways = step_times.ways(case, setting.window, setting.accelerator)
    times = {name: attempt(way) for name, way in ways.items()}
    words = [f"{name} {value if isinstance(value, str) else f'{value:.2f} ms'}" for name, value in times.items()]
    ratios = [
        f"{one} / {other}: {times[one] / times[other]:.2f}"
        for one in ("ours, captured", "ours, eager")
        for other in ("bare", "bare, one graph")
        if isinstance(times.get(one), float) and isinstance(times.get(other), float)
    ]
    return "; ".join(words + ratios)


def ours(case: Case, setting: Setting, **flags: Any) -> float:
    """Milliseconds of one of our steps."""
    data = step_times.images_for(case, setting.window)
    return step_times.of_ours(case, data, setting.window, setting.accelerator, **flags)


def usual_row(case: Case, setting: Setting) -> str:
    data = step_times.images_for(case, setting.window)
    seconds = overhead.usual(data, 1, setting.accelerator)
    rate, own = len(data.train_indices) / seconds, 1000 * case.batch_size / ours(case, setting)
    return f"usual pipeline {rate:,.0f} images/s; ours {own:,.0f}, {own / rate:.1f} times as many"


def price_row(case: Case, setting: Setting) -> str:
    if not setting.cuda:
        return NEEDS_CUDA
    exact, free = (ours(case, setting, capture=True, deterministic=flag) for flag in (True, False))
    return f"deterministic {exact:.2f} ms, not so {free:.2f} ms: {exact / free:.3f}"


def speedrun_row(setting: Setting) -> str:
    if lacking := setting.lacks_data():
        return lacking
    places = dict(accelerator=setting.accelerator, data_dir=setting.data_dir, sample=setting.sample)
    with tempfile.TemporaryDirectory() as runs:
        return recipes.speedrun(1 if setting.sample else 5, run_dir=runs, **places)


def resnet18_row(setting: Setting) -> str:
    if lacking := setting.lacks_data():
        return lacking
    flags = replace(cifar10.RECIPES["resnet18"], data_dir=setting.data_dir, accelerator=setting.accelerator)
    flags = replace(flags, devices=1, num_sanity_val_steps=0, pictures=False, checkpoint_epochs=1000)
    flags = replace(flags, max_epochs=affordable_epochs(setting))
    if setting.sample:
        flags = replace(flags, **SMALL, sample=True, limit_train_batches=2, limit_val_batches=1, warmup_epochs=0)
    with tempfile.TemporaryDirectory() as runs, until_stopped():
        metrics = classify(CIFAR10, replace(flags, run_dir=runs))
    return f"{metrics['test/acc']:.2%} in {metrics['seconds']:.1f} s, {metrics['epochs']} epochs, with validation"


def affordable_epochs(setting: Setting) -> int:
    """The number of epochs of ResNet-18's recipe that there is time for, at most all of them."""
    recipe = cifar10.RECIPES["resnet18"]
    if setting.sample:
        return 1
    milliseconds = ours(Case("resnet18", recipe.batch_size), setting)
    epoch = 45_000 / recipe.batch_size * milliseconds / 1000 * 1.1 + 0.7  # cutout; validation and checkpoints
    return max(1, min(recipe.max_epochs, int((setting.left() - 15) / epoch)))  # 15 s: before and after the training


def compiled_row(case: Case, setting: Setting) -> str:
    if not setting.cuda:
        return NEEDS_CUDA
    return f"ours, compiled {ours(case, setting, compile=True, capture=False):.2f} ms"


def main(
    parts: str = ",".join(PARTS),
    minutes: float = 5.5,
    accelerator: str = "cuda",
    data_dir: str = "data",
    sample: bool = False,
) -> None:
    """Runs the parts and prints their results.

    Args:
        parts: names of parts, in the order in which to run them.
        minutes: time for all of it; parts that would take longer are skipped.
        accelerator: cuda or cpu.
        data_dir: folder of CIFAR-10.
        sample: use steps of a few images, and no files.
    """
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it once, possibly in a bare loop
    if accelerator == "cpu":
        torch.set_num_threads(1)
    results = Results(60 * minutes)
    print(f"{hardware(accelerator)}, torch {torch.__version__}, commit {git_commit()}", flush=True)
    setting = Setting(accelerator, sample, data_dir, results.left)
    for part in [choose("part", name.strip(), PARTS) for name in parts.split(",")]:
        for check in part(setting):
            results.add(check)
    print(f"\n{results.table()}")


def hardware(accelerator: str) -> str:
    return torch.cuda.get_device_name() if accelerator == "cuda" else cpu()


if __name__ == "__main__":
    auto_cli(main)
