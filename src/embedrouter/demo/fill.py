"""Plays the demo into a database: every request settled, every attempt counted, by the code that serves."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple

from embedrouter.catalog.models import endpoint_id
from embedrouter.demo import house, market, traffic
from embedrouter.demo.house import Desk, House
from embedrouter.demo.market import Market
from embedrouter.demo.scene import Place, Stream
from embedrouter.demo.traffic import Played, Seen, Try
from embedrouter.demo.weather import Span
from embedrouter.ledger import generations, health
from embedrouter.ledger.attempts import Attempt
from embedrouter.ledger.generations import Generation, Settlement
from embedrouter.ledger.health import Share
from embedrouter.ledger.observed import Observed
from embedrouter.ledger.rolling import Rolling
from embedrouter.periods import DAY, SECOND
from embedrouter.routing.health import Health, Outcome
from embedrouter.settings import Settings
from embedrouter.store import Database, Writer
from embedrouter.store.demo import claim
from embedrouter.telemetry.progress import bar
from embedrouter.work import Origin, generation

_WINDOW: Final = 16_384  # writes that wait
_TOLD: Final = 2_000  # attempts in one share of health; and requests between two steps of the progress
_HEALTH_KEPT: Final = 3 * DAY * SECOND - 600 * SECOND  # microseconds; nothing that retention would take at once
_PROCESS: Final = "demo"


class Wanted(NamedTuple):
    """What to play."""

    span: Span
    requests: int
    seed: int


def fill(desk: Desk, writer: Writer, database: Database, settings: Settings, wanted: Wanted) -> House:
    """Everything. Raises ConflictError for a database that is in use, EmbedRouterError."""
    span = wanted.span
    desk.write(claim, span.end)
    market.open_market(desk, database, settings, span)
    there = house.furnish(desk, database, settings, span, wanted.requests)
    clerk = _Clerk(writer, there, market.market(database, settings), span)
    with bar("requests", wanted.requests) as tell:
        for number, played in enumerate(traffic.requests(span, wanted.requests, wanted.seed), 1):
            clerk.settle(played)
            if number % _TOLD == 0:
                tell(number, wanted.requests)
        for seen in traffic.pulses(span, wanted.seed):
            clerk.observe(seen)
        clerk.finish()
        while not Rolling(writer).catch_up(span.end, 1.0):
            pass
        tell(wanted.requests, wanted.requests)
    house.leave(desk, there, span)
    return there


class _Clerk:
    """Has written what was played, many at a time."""

    def __init__(self, writer: Writer, there: House, places: Market, span: Span) -> None:
        self._writer = writer
        self._house = there
        self._places = places
        self._span = span
        self._waiting: deque[Future[Any]] = deque()
        self._at = 0  # microseconds: the time of the demo
        self._health = Health(clock=lambda: self._at / SECOND)
        self._seen = 0
        self._share = span.end  # number of the last one
        self._origins: dict[Stream, Origin] = {}

    def settle(self, played: Played) -> None:
        """A request. Raises what writing those before came to."""
        caller = self._house.callers[played.stream.key]
        row = self._row(played)
        self._wait_for(self._writer.submit(generations.settle, Settlement(row, caller.payer)))
        if played.at >= self._span.end - _HEALTH_KEPT:
            for tried in played.tries:
                self.observe(Seen(played.at, played.tokens, tried))

    def observe(self, seen: Seen) -> None:
        """An attempt, as routing records it."""
        tried = seen.tried
        if tried.status == 499:  # says nothing of its provider
            return
        self._at = seen.at
        model, endpoint = self._places[tried.place]
        outcome = Outcome(tried.went.failure, tried.went.seconds, seen.tokens)
        self._health.record(endpoint_id(model, endpoint), outcome)
        self._seen += 1
        if self._seen % _TOLD == 0:
            self._tell()

    def finish(self) -> None:
        """Wait for everything."""
        self._tell()
        while self._waiting:
            self._waiting.popleft().result()

    def _tell(self) -> None:
        """What was seen, but for pauses: they were over long ago."""
        taken = self._health.take(everything=True)
        self._share += 1
        share = Share(_PROCESS, self._share, Observed(taken.minutes, taken.tallies))
        self._wait_for(self._writer.submit(health.add, share))

    def _wait_for(self, writing: "Future[Any]") -> None:
        self._waiting.append(writing)
        if len(self._waiting) >= _WINDOW:
            for _ in range(_WINDOW // 2):
                self._waiting.popleft().result()

    def _row(self, played: Played) -> Generation:
        stream = played.stream
        last = played.tries[-1] if played.tries else None
        place = self._first(stream) if last is None else last.place
        model, endpoint = self._places[place]
        price = endpoint.price.prompt * (2 if self._was_dearer(place, played.at) else 1)
        row = generation(
            self._origin(played),
            model,
            endpoint,
            played.at,
            inputs=played.inputs,
            status=played.status,
            error_type=played.error_type,
            cancelled=played.status == 499,
            tokens=played.tokens,
            cost_pico=0 if stream.byok else played.tokens * price,
            upstream_pico=played.tokens * price if stream.byok else 0,
            byok=stream.byok and played.status == 200 and last is not None,
            took=int(sum(one.went.seconds for one in played.tries) * 1_000_000),
            attempts=self._attempts(played.tries, byok=stream.byok),
            cache_source_id=played.source,
        )
        return row._replace(latency_us=max(played.latency_us, row.generation_us))

    def _first(self, stream: Stream) -> Place:
        wanted = (stream.model, stream.providers[0][0])
        return next(place for place in self._places if (place.model, place.provider) == wanted)

    def _was_dearer(self, place: Place, at: int) -> bool:
        return at < self._span.start + place.dearer_until * (self._span.end - self._span.start)

    def _attempts(self, tries: Sequence[Try], *, byok: bool) -> list[Attempt]:
        found = []
        for one in tries:
            model, endpoint = self._places[one.place]
            took = int(one.went.seconds * 1_000_000)
            permaslug = model.canonical_slug
            found.append(Attempt(endpoint.provider.name, endpoint.tag, permaslug, one.status, took, byok))
        return found

    def _origin(self, played: Played) -> Origin:
        stream = played.stream
        known = self._origins.get(stream)
        if known is None:
            caller = self._house.callers[stream.key]
            app_id = 0 if stream.app is None else self._house.apps.get(stream.app, 0)
            known = self._origins[stream] = Origin(
                "", caller, 0.0, app_id, stream.app or "", stream.app, stream.agent, caller.key.external_user
            )
        person, session = played.person, played.session
        return known._replace(
            generation_id=played.id,
            external_user=known.external_user if person is None else f"person-{person}",
            session_id=None if session is None else f"session-{session}",
            request_id=f"req-{played.id[-20:]}",
        )
