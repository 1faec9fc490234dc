"""A real HTTP server that answers as OpenAI does, for endpoints of one's own, and a catalog that knows of it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from server import MODEL

GOOD = {"status": 200, "dimensions": 384, "model": MODEL}


class Deployment:
    """An OpenAI-compatible deployment that answers as it is told to."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.answers: dict[str, Any] = dict(GOOD)
        self.seen: list[tuple[str, str, dict[str, Any]]] = []  # path, credential, body


@contextmanager
def deployment() -> Iterator[Deployment]:
    """One on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            upstream.seen.append((self.path, self.headers.get("Authorization", ""), body))
            told = upstream.answers
            vector = [0.1] * told["dimensions"]
            document = {
                "object": "list",
                "data": [{"object": "embedding", "index": 0, "embedding": vector}],
                "model": told["model"],
                "usage": {"prompt_tokens": 9, "total_tokens": 9},
            }
            if told["status"] != 200:
                document = {"error": {"message": "the deployment sleeps", "code": told["status"]}}
            payload = json.dumps(document).encode()
            self.send_response(told["status"])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    upstream = Deployment(httpd.server_address[1])
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield upstream
    httpd.shutdown()
    httpd.server_close()


CATALOG = """
[[providers]]
slug = "own"
name = "Our own"
wire = "openai"
base_url = "http://127.0.0.1:9/v1"
allow_private = true

[[providers]]
slug = "free"
wire = "openai"
base_url = "http://127.0.0.1:9/v1"
allow_private = true
needs_credential = false
"""
