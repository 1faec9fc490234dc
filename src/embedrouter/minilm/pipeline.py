"""From texts to vectors: one tokenizer thread in front of the micro-batcher.

The thread works in turns: each request that waits has a slice of its texts tokenised, and all slices of a turn go
through the tokenizer in one call. So under load the cost is shared, without load nothing waits, and a small request
never waits for the whole of a large one. Requests are admitted by an estimate of their tokens before anything is
tokenised: what the queue cannot hold is refused at once and cheaply.
"""

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedrouter.errors import EmbedRouterError, OverloadedError
from embedrouter.minilm.batcher import Batcher
from embedrouter.minilm.facts import WINDOW
from embedrouter.minilm.tokenizer import Content, Tokenizer, content_of_ids
from embedrouter.minilm.windows import LongInput, Plan, Vectors, combine, plan

log = logging.getLogger(__name__)

_CHARACTERS_PER_TOKEN: Final = 4  # of English; other scripts have fewer, and the batcher counts exactly afterwards
_COUNTED: Final = 131_072  # tokens of a too long text that are counted exactly for its error message
_SLICE: Final = 32_768  # characters of one request that are tokenised in a turn, or one text
_TURN: Final = 131_072  # characters after which a turn takes no further request

Inputs = Sequence[str] | Sequence[Sequence[int]]
"""Texts, or token ids of this model's own vocabulary."""


class Embedded(NamedTuple):
    """The answer to one request."""

    vectors: Vectors  # (n, 384), unit length, in input order
    tokens: list[int]  # billed tokens of each input, [CLS] and [SEP] counted once
    truncated: int  # inputs that were cut at 256 tokens
    windows: int  # sequences beyond the first of each input
    tokenize_seconds: float  # of the calls this request was tokenised in
    plans: list[Plan]  # what was computed for each input


class Tokenised(NamedTuple):
    """A request that has been counted and can be computed."""

    plans: list[Plan]
    seconds: float  # of the tokenizer calls

    @property
    def tokens(self) -> int:
        """What it will be billed, exactly."""
        return sum(plan.tokens for plan in self.plans)


class _Request:
    """A request on its way through the tokenizer; only its thread touches what changes."""

    __slots__ = ("contents", "counting", "estimate", "first", "future", "rule", "seconds", "texts")

    def __init__(
        self,
        texts: Sequence[str],
        contents: list[Content],
        rule: LongInput,
        first: int,
        estimate: int,
        counting: bool,
    ) -> None:
        """texts: still to be tokenised; contents: given instead when the caller sent ids. first: for errors."""
        self.texts = texts
        self.contents = contents
        self.rule = rule
        self.first = first
        self.estimate = estimate  # tokens
        self.counting = counting  # only: it is computed later, or never
        self.future: Future[Any] = Future()
        self.seconds = 0.0

    def slice(self) -> list[str]:
        """The next texts to tokenise."""
        start = stop = len(self.contents)
        characters = 0
        while stop < len(self.texts) and (stop == start or characters + len(self.texts[stop]) <= _SLICE):
            characters += len(self.texts[stop])
            stop += 1
        return list(self.texts[start:stop])

    @property
    def tokenised(self) -> bool:
        return len(self.contents) >= len(self.texts)


class Pipeline:
    """Thread-safe. Close it to stop its thread and the batcher's."""

    def __init__(self, tokenizer: Tokenizer, batcher: Batcher) -> None:
        self._tokenizer = tokenizer
        self.batcher = batcher
        self._waiting: deque[_Request] = deque()
        self._waiting_tokens = 0
        self._work = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="embedrouter-tokenizer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the tokenizer thread runs."""
        return self._thread.is_alive()

    def submit(self, inputs: Inputs, rule: LongInput = LongInput.WINDOWS, *, first: int = 0) -> "Future[Embedded]":
        """Queue one request of n inputs. Cancel the future to give it up. first: the index errors give to inputs[0].

        The future raises ContextLengthExceededError for an input that is too long. Raises OverloadedError when the
        queue is full, InvalidRequestError for ids that are not the model's.
        """
        return self._put(inputs, rule, first, counting=False)

    def tokenise(self, inputs: Inputs, rule: LongInput = LongInput.WINDOWS) -> "Future[Tokenised]":
        """The first half of `submit`, for who must know the tokens before anything is computed. Raises the same."""
        return self._put(inputs, rule, 0, counting=True)

    def compute(self, tokenised: Tokenised) -> "Future[Embedded]":
        """The second half of `submit`. Raises OverloadedError."""
        future: Future[Embedded] = Future()
        self._compute(future, tokenised)
        return future

    def _put(self, inputs: Inputs, rule: LongInput, first: int, *, counting: bool) -> "Future[Any]":
        contents: list[Content] = []
        texts: Sequence[str] = ()
        if inputs and not isinstance(inputs[0], str):
            contents = [content_of_ids(ids, index) for index, ids in enumerate(inputs, first)]  # type: ignore[arg-type]
            estimate = sum(len(content.ids) + 2 for content in contents)
        else:
            texts = inputs  # type: ignore[assignment]
            estimate = sum(map(len, texts)) // _CHARACTERS_PER_TOKEN + 2 * len(texts)
        request = _Request(texts, contents, rule, first, estimate, counting)
        with self._work:
            if self._closing:
                raise OverloadedError("the server is shutting down", retry_after=5)
            self.batcher.check_room(estimate, tokens_ahead=self._waiting_tokens, calls_ahead=len(self._waiting))
            self._waiting.append(request)
            self._waiting_tokens += estimate
            self._work.notify()
        return request.future

    def close(self, timeout: float | None = None) -> None:
        """Refuse new requests, finish what was taken, stop all threads. timeout: seconds to wait for all of it."""
        started = time.monotonic()
        with self._work:
            self._closing = True
            self._work.notify()
        self._thread.join(timeout)
        self.batcher.close(None if timeout is None else max(0.0, timeout - (time.monotonic() - started)))

    # --- the tokenizer thread

    def _run(self) -> None:
        while turn := self._take():
            try:
                self._tokenise(turn)
            except BaseException:  # one of them is at fault: each by itself, then
                for request in turn:
                    self._tokenise_alone(request)
            self._hand_on(turn)

    def _take(self) -> list[_Request]:
        """Wait for requests and take those of the next turn; empty when closing and nothing is left."""
        with self._work:
            while not self._waiting and not self._closing:
                self._work.wait()
            turn: list[_Request] = []
            characters = 0
            while self._waiting and characters < _TURN:
                request = self._waiting.popleft()
                characters += min(_SLICE, _CHARACTERS_PER_TOKEN * request.estimate)
                turn.append(request)
            return turn

    def _tokenise(self, turn: list[_Request]) -> None:
        """One slice of each request. Only truncation lets the reading of a very long text stop early."""
        for truncating in (False, True):
            slices = [
                (request, request.slice())
                for request in turn
                if not request.tokenised
                and not request.future.done()
                and (request.rule is LongInput.TRUNCATE) == truncating
            ]
            if not slices:
                continue
            started = time.perf_counter()
            texts = [text for _, texts in slices for text in texts]
            first = slices[0][0].first + len(slices[0][0].contents)
            found = iter(self._tokenizer.contents(texts, WINDOW if truncating else _COUNTED, first))
            seconds = time.perf_counter() - started
            for request, some in slices:
                request.contents.extend(next(found) for _ in some)
                request.seconds += seconds

    def _tokenise_alone(self, request: _Request) -> None:
        try:
            self._tokenise([request])
        except EmbedRouterError as error:
            _fail(request.future, error)
        except BaseException as error:  # a bug, also a panic in Rust, must fail its request and leave the thread alive
            log.exception("tokenising a request failed")
            _fail(request.future, error if isinstance(error, Exception) else RuntimeError("the tokenizer failed"))

    def _hand_on(self, turn: list[_Request]) -> None:
        """What is tokenised goes to the batcher, what was given up is forgotten, the rest waits for its next turn."""
        unfinished = []
        for request in turn:
            if request.future.done():
                continue
            if request.tokenised:
                self._queue(request)
            else:
                unfinished.append(request)
        with self._work:
            self._waiting.extend(unfinished)
            self._waiting_tokens -= sum(request.estimate for request in turn if request not in unfinished)

    def _queue(self, request: _Request) -> None:
        try:
            plans = [
                plan(content.ids, request.rule, index, exact=content.exact)
                for index, content in enumerate(request.contents, request.first)
            ]
            tokenised = Tokenised(plans, request.seconds)
            if request.counting:
                with suppress(InvalidStateError, CancelledError):  # the caller has given up
                    request.future.set_result(tokenised)
            else:
                self._compute(request.future, tokenised)
        except EmbedRouterError as error:
            _fail(request.future, error)

    def _compute(self, future: "Future[Embedded]", tokenised: Tokenised) -> None:
        sequences = [sequence for one in tokenised.plans for sequence in one.sequences]
        computed = self.batcher.submit(sequences)
        computed.add_done_callback(_answer(future, tokenised.plans, sequences, tokenised.seconds))
        # Weak, or the two futures would hold each other, and megabytes of vectors wait for the garbage collector.
        future.add_done_callback(_cancel(weakref.ref(computed)))


def _answer(
    future: "Future[Embedded]", plans: list[Plan], sequences: list[NDArray[np.int32]], seconds: float
) -> Callable[["Future[Vectors]"], None]:
    def done(computed: "Future[Vectors]") -> None:
        if computed.cancelled():
            return
        error = computed.exception()
        if error is not None:
            _fail(future, error)
            return
        vectors = computed.result()
        if len(sequences) != len(plans):
            vectors = _merged(vectors, plans)
        answer = Embedded(
            vectors,
            [one.tokens for one in plans],
            sum(one.truncated for one in plans),
            len(sequences) - len(plans),
            seconds,
            plans,
        )
        with suppress(InvalidStateError, CancelledError):  # the caller has given up
            future.set_result(answer)

    return done


def _cancel(computed: "weakref.ref[Future[Vectors]]") -> Callable[["Future[Embedded]"], None]:
    def done(future: "Future[Embedded]") -> None:
        if future.cancelled() and (other := computed()) is not None:
            other.cancel()

    return done


def _merged(vectors: Vectors, plans: list[Plan]) -> Vectors:
    merged = np.empty((len(plans), vectors.shape[1]), np.float32)
    start = 0
    for row, one in enumerate(plans):
        stop = start + len(one.sequences)
        lengths = np.array([len(sequence) for sequence in one.sequences], np.int64)
        merged[row] = combine(vectors[start:stop], lengths)
        start = stop
    return merged


def _fail(future: "Future[Embedded]", error: BaseException) -> None:
    with suppress(InvalidStateError, CancelledError):  # the caller has given up
        future.set_exception(error)
