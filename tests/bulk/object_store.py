"""As much of S3 as Arrow's client asks for, in memory: a real client speaks HTTP to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_XML = '<?xml version="1.0" encoding="UTF-8"?>'


class ObjectStore:
    """Its objects, by bucket/key, and what was asked of it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.port = 0

    def uri(self, path: str) -> str:
        """The URI of bucket/key, with a key that must never be shown."""
        return (
            f"s3://access:secret-key@{path}?scheme=http&endpoint_override=127.0.0.1:{self.port}"
            "&region=us-east-1&allow_bucket_creation=false"
        )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ObjectStore

    def do_GET(self) -> None:
        path, query = self._target()
        if "list-type" in query:
            self._list(path.strip("/"), query)
        elif path not in self.store.objects:
            self._answer(404, f"{_XML}<Error><Code>NoSuchKey</Code></Error>".encode())
        else:
            data = self.store.objects[path]
            if wanted := self.headers.get("Range"):
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                stop = min(len(data), int(last) + 1 if last else len(data))
                self._answer(206, data[int(first) : stop], {"Content-Range": f"bytes {first}-{stop - 1}/{len(data)}"})
            else:
                self._answer(200, data)

    def do_HEAD(self) -> None:
        path, _ = self._target()
        found = self.store.objects.get(path)
        if found is None and "/" in path.strip("/"):
            self._answer(404, b"")
        else:
            self._answer(200, found or b"", {"Last-Modified": "Mon, 23 Nov 2026 12:00:00 GMT"})

    def do_PUT(self) -> None:
        path, query = self._target()
        body = self._body()
        if "uploadId" in query:
            self.store.uploads[query["uploadId"]][int(query["partNumber"])] = body
        else:
            self.store.objects[path] = body
        self._answer(200, b"", {"ETag": f'"{md5(body, usedforsecurity=False).hexdigest()}"'})

    def do_POST(self) -> None:
        path, query = self._target()
        body = self._body()
        if "uploads" in query:
            upload = f"upload-{len(self.store.uploads)}"
            self.store.uploads[upload] = {}
            answer = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        elif "uploadId" in query:
            parts = self.store.uploads.pop(query["uploadId"])
            self.store.objects[path] = b"".join(parts[number] for number in sorted(parts))
            answer = "<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>"
        else:  # several are deleted at once
            bucket = path.strip("/")
            for piece in body.decode().split("<Key>")[1:]:
                self.store.objects.pop(f"{bucket}/{piece.partition('<')[0]}", None)
            answer = "<DeleteResult></DeleteResult>"
        self._answer(200, f"{_XML}{answer}".encode())

    def do_DELETE(self) -> None:
        path, query = self._target()
        if "uploadId" in query:
            self.store.uploads.pop(query["uploadId"], None)
        else:
            self.store.objects.pop(path, None)
        self._answer(204, b"")

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        contents, folders = "", set()
        for path, data in sorted(self.store.objects.items()):
            key = path.removeprefix(f"{bucket}/")
            if key == path or not key.startswith(prefix):
                continue
            inner = key[len(prefix) :]
            if delimiter and delimiter in inner:
                folders.add(prefix + inner.partition(delimiter)[0] + delimiter)
                continue
            contents += (
                f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-23T12:00:00.000Z</LastModified>"
                f"<Size>{len(data)}</Size></Contents>"
            )
        contents += "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in folders)
        self._answer(
            200, f"{_XML}<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()
        )

    def _target(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path).lstrip("/"), query

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" not in (self.headers.get("Content-Encoding") or ""):
            return data
        body = b""
        while data:
            head, _, data = data.partition(b"\r\n")
            count = int(head.partition(b";")[0], 16)
            if not count:
                break
            body, data = body + data[:count], data[count + 2 :]
        return body

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A store that listens until the end."""
    store = ObjectStore()
    handler = type("Handler", (_Handler,), {"store": store})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        store.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield store
        finally:
            server.shutdown()
            thread.join()
