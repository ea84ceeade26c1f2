"""Time and memory of ranking a whole gallery for each query.

    python benchmarks/retrieval.py                                  60,000 images, 10,000 queries, 64 dimensions
    python benchmarks/retrieval.py --gallery 6000 --queries 1000

It uses random embeddings of ten classes: the amount of computation does not depend on what the gallery holds.
"""

import resource
import time

import torch
from jsonargparse import auto_cli

from lit_modules.retrieval import retrieve


def main(gallery: int = 60_000, queries: int = 10_000, size: int = 64) -> None:
    """Measures and prints the results.

    Args:
        gallery: number of images to rank.
        queries: number of images to rank them for.
        size: dimension of the embeddings.
    """
    torch.manual_seed(0)
    images, asked = torch.randn(gallery, size), torch.randn(queries, size)
    started, cpu = time.perf_counter(), time.process_time()
    result = retrieve(asked, torch.arange(queries) % 10, images, torch.arange(gallery) % 10)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # from KiB
    print(
        f"{queries:,} queries, {gallery:,} images, {size}-D: {seconds:.1f} s on"
        f" {torch.get_num_threads()} threads, {cpu:.1f} s of CPU; peak memory {peak:.2f} GiB;"
        f" mAP {result.average_precision.mean():.4f}"
    )


if __name__ == "__main__":
    auto_cli(main)
