"""A page on this machine that says what a trained network makes of an image, or of a row of a table.

    python experiments/serve.py runs/own_images/<run>           drop a photo: classes, labels or a number
    python experiments/serve.py runs/mnist/<run> --port 8080    a digit; dark ink on white paper too
    python experiments/serve.py runs/table/<run>                fill in a row: a field for each column
    python experiments/serve.py runs/segmentation/<run>         the mask over the image, and each class's share
    python experiments/serve.py runs/metric_learning/<run>      the training images that are nearest, with distances

Files and rows are read, checked and prepared as by predict.py and predict_table.py. A run of several folds predicts by
their mean. Fields begin with the median, or with the most frequent value. The page is for browsers on this machine
alone, fetches nothing and sends nothing anywhere. Ctrl-C ends it.
"""

from contextlib import suppress

from harness.command_line.cli import cli


def main(checkpoint: str, port: int = 8000, threshold: float | None = None) -> None:
    """Shows the page until Ctrl-C.

    Args:
        checkpoint: run directory, or checkpoint file.
        port: where the page is, on 127.0.0.1; 0: on any free one.
        threshold: of two classes, name the second class from this probability on; null: the one that the run's
            validation chose, or of folds 0.5.
    """
    from harness.serving.server import HERE, open_server  # imported here, so that --help need not wait for torch
    from harness.serving.subjects import answers_of

    with (
        open_server(answers_of(checkpoint, threshold), port) as server,
        suppress(SystemExit),
    ):  # of Ctrl-C, which ends it
        print(f"http://{HERE}:{server.server_port}   Ctrl-C ends it", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    cli(main)
