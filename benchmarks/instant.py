"""An upstream that answers at once: OpenAI's embeddings, always the same vector of 384 numbers. Not for use.

python benchmarks/instant.py PORT
"""

import asyncio
import base64
import sys

import numpy as np
import orjson
import uvloop

_VECTOR = (np.arange(1, 385, dtype=np.float32) / 4_320).astype("<f4")


def _answer(embedding: object) -> bytes:
    body = orjson.dumps(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": embedding}],
            "model": "instant",
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


_FLOATS = _answer(_VECTOR)
_BASE64 = _answer(base64.b64encode(_VECTOR.tobytes()).decode())


class Instant(asyncio.Protocol):
    """One connection; requests come one after the other, each with a Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while True:
            head, found, rest = self._seen.partition(b"\r\n\r\n")
            if not found:
                return
            length = next(
                (
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line[:15].lower() == b"content-length:"
                ),
                0,
            )
            if len(rest) < length:
                return
            self._seen = rest[length:]
            self._transport.write(_BASE64 if b'"base64"' in rest[:length] else _FLOATS)  # type: ignore[attr-defined]


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
