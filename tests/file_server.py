"""A local file server that counts requests and misbehaves on demand; its fixtures are in conftest.py."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from datamodules.download import SHA256

SPLITS = (("train", 6), ("t10k", 4))  # MNIST's names of its files


def images_and_labels(shape):
    """Training images and labels, then those to test."""
    rng = np.random.default_rng(0)
    return [
        rng.integers(top, size=size, dtype=np.uint8) for _, n in SPLITS for size, top in (((n, *shape), 256), (n, 10))
    ]


def idx(array):
    """LeCun's format: type 8 is uint8, then the number of dimensions, then each as four bytes."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def md5(content):
    return hashlib.md5(content).hexdigest()


def serve_as_official(monkeypatch, name, server):
    """Takes the server's files for the official ones."""
    checks = {file: hashlib.sha256(content).hexdigest() for file, content in server.files.items()}
    monkeypatch.setitem(SHA256, name, checks)


class Server(ThreadingHTTPServer):
    """Serves `files`, notes each path asked for, and misbehaves on request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.requests, self.fault = {}, [], None
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        if self.server.fault == "garbled":
            self.wfile.write(b"what?\r\n\r\n")
            return
        content = self.server.files.get(self.path[1:])
        if content is None or self.server.fault == "absent":
            self.send_error(404)
            return
        if self.server.fault == "corrupted":
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:20] if self.server.fault == "truncated" else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def served_mnist(server, monkeypatch):
    """Serves a tiny MNIST in the official format, and gives its arrays."""
    from torchvision import datasets  # here, because few tests need it

    arrays = images_and_labels((28, 28))
    kinds = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]
    server.files = {f"{kind}-ubyte.gz": gzip.compress(idx(array)) for kind, array in zip(kinds, arrays, strict=True)}
    monkeypatch.setattr(datasets.MNIST, "mirrors", [server.url])
    monkeypatch.setattr(datasets.MNIST, "resources", [(name, md5(data)) for name, data in server.files.items()])
    serve_as_official(monkeypatch, "MNIST", server)
    return arrays
