"""What may be wrong with a run before it starts: data, network, learning rate, time and memory, in a few minutes.

    python experiments/doctor.py cifar10.py --net resnet18
    python experiments/doctor.py mnist.py --sample --lr 30       any script, with its flags after it

Nothing is trained or written. Each check prints a line: `ok` or `look here`, what was found, and what is usual. The
exit status is 0 if everything is ok, 1 if something needs a look, and 2 for a wrong flag. The flag `--doctor` of a
script does the same.

    ok         initial loss         2.31; expected 1.15 to 3.80; chance has ln 10
    look here  learning rate        30; in a range test the loss falls fastest at 0.017 and diverges at 0.53; ...

It checks the labels and classes of each split, class balance, images that are in two splits or have two labels, the
range of augmented images, mean and standard deviation of the network's input, the loss before training, ReLUs that are
never active, gradients, whether a small batch can be learnt by heart, the learning rate, time and memory. Tables
(house_prices.py with `--folds 0`) and metric_learning.py get the checks that apply to them.
"""

import runpy
import sys
from collections.abc import Sequence

from basics.errors import InputError
from harness.comparing.scripts import find_script
from harness.processes.pipes import ending_with_reader

USAGE = "usage: python experiments/doctor.py SCRIPT.py [flags of the script]"


def main(args: Sequence[str]) -> None:
    """Runs the script with its flags and `--doctor`, as the command line does."""
    script = args[0] if args else ""
    if not script or script.startswith("-"):
        print(f"{__doc__}\n{USAGE}")
        sys.exit(0 if args else 2)
    try:
        path = find_script(script if script.endswith(".py") else f"{script}.py")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [str(path), *args[1:], "--doctor"]
    sys.path.insert(0, str(path.parent))  # as if it had been started itself
    runpy.run_path(str(path), run_name="__main__")


if __name__ == "__main__":
    with ending_with_reader():
        main(sys.argv[1:])
