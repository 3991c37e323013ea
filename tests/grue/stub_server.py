"""A server of the completions and chat protocols that fails on demand, in a thread."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[["Handler"], None]
Keys = dict[str, Any]


def said(body: Mapping[str, Any], number: int = 0) -> str:
    """What the stub answers: a text of the prompt and the seed alone."""
    asked = body.get("prompt") or body["messages"][-1]["content"]
    return f"{asked[-3:]}{'a' * ((body['seed'] + number) % 5)}"


class Stub:
    """The server's address, what it was asked, and the faults of its next answers."""

    def __init__(self) -> None:
        self.asked: list[Keys] = []
        self.headers: list[Mapping[str, str]] = []
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.models = ["small", "large"]
        self.knows_n = True
        self.with_log_probs = False
        self.released = threading.Event()
        self.url = ""

    def next_fault(self) -> Fault | None:
        """What is wrong with the next answer; each thread that asks gets another one."""
        try:
            return self.faults.popleft()
        except IndexError:
            return self.always

    def answer(self, path: str, body: Keys) -> Keys:
        """A whole answer to a request."""
        count = body.get("n", 1) if self.knows_n else 1
        choices = [self._choice(path, said(body, number)) for number in range(count)]
        total = sum(len(said(body, number)) for number in range(count))
        return {
            "id": "1",
            "object": "it",
            "choices": choices,
            "usage": {"completion_tokens": total},
        }

    def _choice(self, path: str, text: str) -> Keys:
        if path.endswith("/chat/completions"):
            logs: Any = {"content": [{"token": letter} for letter in text]}
            of_text: Keys = {"message": {"role": "assistant", "content": text or None}}
        else:
            logs, of_text = {"tokens": list(text)}, {"text": text}
        return {"index": 0, **of_text, "logprobs": logs if self.with_log_probs else None}


class Handler(BaseHTTPRequestHandler):
    """Answers of a `Stub`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits until its headers have been acknowledged
    stub: Stub

    def do_GET(self) -> None:
        """Tell the models, at the right path alone."""
        if self.path != "/v1/models":
            self.send(404, "no such page\nsecond line")
            return
        models = [{"id": name, "object": "model"} for name in self.stub.models]
        self.send(200, json.dumps({"object": "list", "data": models}))

    def do_POST(self) -> None:
        """Answer, or fail as the next fault does."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.stub.asked.append(body)
        self.stub.headers.append({name.lower(): value for name, value in self.headers.items()})
        fault = self.stub.next_fault()
        self.whole = json.dumps(self.stub.answer(self.path, body))
        if fault is None:
            self.send(200, self.whole)
        else:
            fault(self)

    def send(self, status: int, text: str, length: int | None = None, **headers: str) -> None:
        """Send an answer; with a ``length`` above the text's it is cut."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(text.encode())
        if length is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def status(code: int, **headers: str) -> Fault:
    return lambda handler: handler.send(code, f"trouble {code}\nsecond line", **headers)


def cut(handler: Handler) -> None:
    """The connection ends before the body does."""
    handler.send(200, handler.whole[:20], length=len(handler.whole))


def half_json(handler: Handler) -> None:
    """A whole body that is half an answer."""
    handler.send(200, handler.whole[: len(handler.whole) // 2])


def page(handler: Handler) -> None:
    """A page for people."""
    handler.send(200, "<html>\n<body>hello</body></html>")


def hang(handler: Handler) -> None:
    """No answer before the test ends."""
    handler.stub.released.wait()
    handler.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """Connections that may wait; the kernel answers further ones a second later."""


@contextmanager
def serving() -> Iterator[Stub]:
    stub = Stub()
    handler = type("OfStub", (Handler,), {"stub": stub})
    server = _Server(("127.0.0.1", 0), handler)
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stub
    finally:
        stub.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
