"""What the formats read answers with: typed JSON, vectors as one array, every vector checked."""

import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from embedrouter.providers.formats.failures import failure_of, is_error
from embedrouter.providers.wire import Failure, Target, UpstreamError, WireCall

T = TypeVar("T")

_FLOATS: Final = np.dtype("<f4")
_NUMBER: Final = 40  # bytes that a number may take in JSON, with the space around it
_CHARACTER: Final = 12  # bytes that a text's character may take where an answer repeats it
_BESIDES: Final = 1_048_576  # bytes for all else
_LARGEST: Final = 65_536  # dimensions, where the endpoint's are not known
_TOKENS_OF_CHARACTER: Final = 4  # at most: a byte each
_TOKENS_OF_TEXT: Final = 256  # at most, beyond its own: marks, an instruction


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Body(msgspec.Struct):
    """What any answer may have beside vectors: the signs of an error."""

    error: Any = None
    errors: Any = None
    success: Any = None

    @property
    def failed(self) -> bool:
        """Whether it tells of an error."""
        return bool(self.error) or bool(self.errors) or self.success is False


def read(
    decoder: msgspec.json.Decoder[T],
    reply: Reply,
    target: Target,
    call: WireCall,
    codes: Mapping[str, Failure] | None = None,
) -> T:
    """The body of an answer that has one. codes: see `failure_of`. Raises UpstreamError."""
    status, headers, body = reply
    if not 200 <= status < 300:
        raise failure_of(status, headers, body, target.credential, codes)
    if len(body) > _most(target, call):
        wrong(f"its answer of {len(body):,} bytes is too large for {len(call.texts):,} vectors")
    try:
        answer = decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        if is_error(body):
            raise failure_of(status, headers, body, target.credential, codes) from None
        raise UpstreamError("invalid_answer", f"its answer cannot be read: {str(error)[:160]}", status=status) from None
    if isinstance(answer, Body) and answer.failed:
        raise failure_of(status, headers, body, target.credential, codes)
    return answer


def from_rows(rows: Sequence[Sequence[float]], target: Target, call: WireCall) -> NDArray[np.float32]:
    """Lists of numbers as one array (n, dimensions). Raises UpstreamError."""
    _check_shape([len(row) for row in rows], target, call)
    with np.errstate(over="ignore"):  # what is too large for a float32 becomes infinite, and is found
        return _finite(np.array(rows, np.float32))


def from_base64(texts: Sequence[str], target: Target, call: WireCall) -> NDArray[np.float32]:
    """Little-endian float32 in base64 as one array (n, dimensions). Raises UpstreamError."""
    chunks = []
    for place, text in enumerate(texts):
        try:
            chunk = binascii.a2b_base64(text, strict_mode=True)
        except ValueError:
            wrong(f"vector {place} is not valid base64")
        if len(chunk) % _FLOATS.itemsize:
            wrong(f"vector {place} has {len(chunk)} bytes, which are no float32 numbers")
        chunks.append(chunk)
    _check_shape([len(chunk) // _FLOATS.itemsize for chunk in chunks], target, call)
    flat = np.frombuffer(bytearray().join(chunks), _FLOATS)  # of a bytearray: it can be written to
    return _finite(flat.reshape(len(chunks), -1).astype(np.float32, copy=False))


def in_order(indices: Sequence[int], count: int) -> list[int]:
    """For each text, the place of its vector among those that came. Raises UpstreamError unless it is 0 to n-1, each
    once."""
    if len(indices) != count:
        wrong(f"it gave {len(indices):,} vectors for {count:,} texts")
    places = [-1] * count
    for place, index in enumerate(indices):
        if not 0 <= index < count:
            wrong(f"it gave a vector with an index outside 0 to {count - 1}")
        if places[index] >= 0:
            wrong(f"it gave two vectors with the index {index}")
        places[index] = place
    return places


def tokens(count: Any, call: WireCall) -> int | None:
    """What a provider says it counted, if that can be: texts are never empty, and a character is 4 tokens at most."""
    if type(count) is not int or count <= 0:
        return None
    most = sum(len(text) for text in call.texts) * _TOKENS_OF_CHARACTER + len(call.texts) * _TOKENS_OF_TEXT
    return count if count <= most else None


def field(node: Any, *names: str) -> Any:
    """What stands in objects within objects; None where one is missing."""
    for name in names:
        node = node.get(name) if isinstance(node, dict) else None
    return node


def model_name(name: Any) -> str | None:
    """The model that a provider says it used, if that can be a name."""
    return name if isinstance(name, str) and 0 < len(name) <= 256 and name.isprintable() else None


def wrong(what: str) -> NoReturn:
    """Raises UpstreamError (invalid_answer)."""
    raise UpstreamError("invalid_answer", what, status=200)


def _most(target: Target, call: WireCall) -> int:
    """Bytes of the largest answer that can be one."""
    numbers = len(call.texts) * (target.dimensions or _LARGEST)
    return numbers * _NUMBER + sum(len(text) for text in call.texts) * _CHARACTER + _BESIDES


def _check_shape(sizes: Sequence[int], target: Target, call: WireCall) -> None:
    """Before anything is allocated for them."""
    if len(sizes) != len(call.texts):
        wrong(f"it gave {len(sizes):,} vectors for {len(call.texts):,} texts")
    if not sizes:
        return
    size = sizes[0]
    for place, other in enumerate(sizes):
        if other != size:
            wrong(f"vector {place} has {other:,} dimensions, vector 0 has {size:,}")
    # A provider that was asked for fewer dimensions may not know how: then it gives all.
    if size == 0 or (target.dimensions and size not in (target.dimensions, call.dimensions)):
        wrong(f"its vectors have {size:,} dimensions, not {call.dimensions or target.dimensions:,}")


def _finite(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    fine = np.isfinite(vectors).all(axis=-1)
    if not fine.all():
        wrong(f"vector {int(np.argmin(fine))} has a number that is not finite")
    return vectors
