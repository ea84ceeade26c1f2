"""Whether a run that was interrupted is, at its end, the one that was not."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from runs_to_kill import Run


def same(run: Run, reference: Run) -> None:
    """Raises AssertionError where the run did not end as the one that was never interrupted."""
    ours, theirs = run.trace(), reference.trace()
    wrong = [key for key in theirs if ours.get(key) != theirs[key]]
    assert ours == theirs, f"{len(wrong)} of {len(theirs)} batches differ, the first {wrong[:1]}"
    for name in ("last.ckpt", "best.ckpt"):
        one, other = (fingerprint(it.last.with_name(name)) for it in (run, reference))
        differing = [key for key in other if one.get(key) != other[key]]
        assert one == other, f"{name} differs in {differing[:5]}"


def fingerprint(checkpoint: Path) -> dict[str, str]:
    """What a checkpoint holds, by place: SHA-256 of tensors, other values as text; no times and no file names."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return dict(_leaves({key: content[key] for key in ("state_dict", "optimizer_states", "callbacks", "global_step")}))


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key in value:
            # The last is what Lightning saw last, which it does not load, nor ever use.
            if not re.search(r"Throughput|Timer|path|best_k_models|current_score", str(key)):
                yield from _leaves(value[key], f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{place}/{number}")
    elif isinstance(value, torch.Tensor):
        yield place, hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    else:
        yield place, repr(value)
