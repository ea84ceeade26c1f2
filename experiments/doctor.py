"""What may be wrong with a run, before it: data, network, learning rate, time and memory, in a minute or a few.

    python experiments/doctor.py cifar10.py --net resnet18
    python experiments/doctor.py mnist.py --sample --lr 30       any script, and its flags after it

Nothing is trained or written. It prints a line for each thing looked at: `ok` or `look here`, what was found, and what
is usual. The exit status is 0 where all is ok, 1 where something wants a look, and 2 for a wrong flag.

    ok         initial loss         2.35; expected 1.15 to 3.80; chance has ln 10
    look here  learning rate        30, the range test suggests 0.081; expected 0.0016 to 0.81

The same as `--doctor` among the script's flags.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from command_line import cli


def main(script: str, flags: Sequence[str]) -> None:
    """Examines what `script` would train with these flags."""
    module = import_module(Path(script).stem)
    cli(module.main, getattr(module, "RECIPES", None), [*flags, "--doctor"])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
