"""The page and its answers, over HTTP to this machine's own browsers: Python's server, and a page of one file.

Gradio would draw such a page from a few lines too, but with some fifty packages, with fonts and scripts that it fetches
from elsewhere, and without a field's kind, choices and remarks beside it. Here nothing is fetched and nothing is sent:
the server listens on 127.0.0.1, and refuses what a page of another address asks of it.
"""

import errno
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any, Protocol
from urllib.parse import urlsplit

from basics.errors import InputError

HERE = "127.0.0.1"
PAGE = Path(__file__).with_name("page.html")
LARGEST = 100_000_000  # bytes of an image
DIGITS = 15  # of their number, at most
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:"


class Answers(Protocol):
    """What a page is about.

    Attributes:
        about: `title`, `text`, and for a row `fields`; see page.html.
    """

    about: Mapping[str, Any]

    def answer(self, body: bytes) -> dict[str, Any]:
        """What to show for an image file, or a row as JSON.

        Returns:
            `shares`, a class and its probability, or its share of a mask and its colour there; or a `number`;
            `pictures` with titles; `notes`, texts.

        Raises:
            InputError: it cannot be used.
        """


def open_server(answers: Answers, port: int) -> ThreadingHTTPServer:
    """The server, which listens from now on; 0 is any free port.

    Raises:
        InputError: the port cannot be used.
    """
    try:
        return ThreadingHTTPServer((HERE, port), partial(_Handler, answers, Lock()))
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is taken by another program" if taken else f"cannot be used ({error})"
        raise InputError(f"--port {port}: {reason}; --port 0 takes any that is free") from error


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    def __init__(self, answers: Answers, one_at_a_time: Lock, *args: Any) -> None:
        self.answers, self.one_at_a_time = answers, one_at_a_time
        super().__init__(*args)  # which handles it

    def do_GET(self) -> None:
        if not self._is_from_here():
            return
        if self.path == "/":
            self._send(200, PAGE.read_bytes(), "text/html; charset=utf-8")
        elif self.path == "/about":
            self._send_json(200, self.answers.about)
        else:
            self._send(404, b"", "text/plain")

    def do_POST(self) -> None:
        if not self._is_from_here():
            return
        length = self.headers.get("Content-Length") or "0"
        if not length.isdecimal() or len(length) > DIGITS:
            self.close_connection = True
            self._send_json(400, {"error": f"Content-Length {length}: is no number"})
            return
        size = int(length)
        if size > LARGEST:
            self.close_connection = True  # what follows is not read
            self._send_json(413, {"error": f"larger than {LARGEST // 1_000_000} MB"})
            return
        body = self.rfile.read(size)
        try:
            with self.one_at_a_time:
                answer = self.answers.answer(body)
        except InputError as error:
            self._send_json(400, {"error": str(error)})
        else:
            self._send_json(200, answer)  # a reader who is slow keeps nobody waiting

    def _is_from_here(self) -> bool:
        """Whether a page of this server asks; another one could name an address of its own that leads here."""
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin", f"http://{host}")
        with suppress(ValueError):  # a host that is none, such as [
            if urlsplit(f"//{host}").hostname in (HERE, "localhost") and origin == f"http://{host}":
                return True
        self._send(403, b"", "text/plain")
        return False

    def _send_json(self, status: int, content: Mapping[str, Any]) -> None:
        self._send(status, json.dumps(content).encode(), "application/json")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": "no-store"}
        for name, value in (headers | {"Content-Security-Policy": POLICY}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Says nothing of each request."""
