"""The requests of the demo, in order of time: the same for the same seed, span and number. Pure."""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from embedrouter.demo.scene import PLACES, STREAMS, Place, Stream
from embedrouter.demo.weather import HOUR, STATUS, Providers, Span, Went, weights
from embedrouter.periods import DAY, SECOND

_CANCELLED: Final = 0.004  # share of requests whose client goes away
_MOST_INPUTS: Final = 512
_MOST_TOKENS: Final = 2_000  # of an input
_CHANCES: Final = 8  # uniform numbers that a request takes: its own three, and one for each of its attempts
_TRIES: Final = 3
_PULSE: Final = 900  # seconds
_PULSES: Final = 3 * DAY - 600  # seconds before the end: what is older, retention takes
_TROUBLED: Final = 300  # seconds, where something fails: an incident is one, not many
_DENSE: Final = 1_800  # seconds before the end in which there is one each minute
_A_PULSE: Final = 12  # attempts


class Try(NamedTuple):
    """One attempt at a provider."""

    place: Place
    status: int
    went: Went


class Played(NamedTuple):
    """One request, and what became of it."""

    id: str
    at: int  # microseconds
    stream: Stream
    inputs: int
    tokens: int  # 0 unless it was answered by a provider
    tries: tuple[Try, ...]
    status: int
    error_type: str | None
    latency_us: int
    source: str | None  # whose answer was given again
    person: int | None  # which of the stream's end users
    session: int | None


class Seen(NamedTuple):
    """An attempt of which nothing but its provider's health remains."""

    at: int  # microseconds
    tokens: int
    tried: Try


def requests(span: Span, count: int, seed: int, streams: Sequence[Stream] = STREAMS) -> Iterator[Played]:
    """So many, the oldest first."""
    random = np.random.default_rng(seed)
    wanted = weights(streams, span)
    counts = random.multinomial(count, (wanted / wanted.sum()).ravel()).reshape(wanted.shape)
    player = _Player(span)
    for hour in range(wanted.shape[1]):
        asked = np.repeat(np.arange(len(streams)), counts[:, hour])
        random.shuffle(asked)
        size = len(asked)
        times = np.sort(random.integers(0, HOUR, size)) + (span.start + hour * HOUR)
        chances, normals = random.random((size, _CHANCES)), random.standard_normal((size, 2 + _TRIES))
        names = random.bytes(10 * size).hex()
        rows = zip(asked.tolist(), times.tolist(), chances.tolist(), normals.tolist(), strict=True)
        for place, (stream, at, chance, normal) in enumerate(rows):
            name = f"gen-{at // SECOND}-{names[20 * place : 20 * place + 20]}"
            yield player.play(name, at, streams[stream], chance, normal)


def pulses(span: Span, seed: int) -> Iterator[Seen]:
    """Attempts of the last three days at every provider, in minutes that are busy enough to tell its uptime."""
    random = np.random.default_rng([seed, 1])
    providers = Providers(span)
    end = span.end // SECOND // 60 * 60
    for ago in range(min(_PULSES, span.days * DAY), 0, -60):
        at = (end - ago) * SECOND
        for place in PLACES:
            quiet = ago % _PULSE and ago > _DENSE
            if quiet and (ago % _TROUBLED or not providers.is_failing(place, at)):
                continue
            tokens = random.lognormal(5.0, 1.0, _A_PULSE).astype(int).tolist()
            chances, normals = random.random(_A_PULSE).tolist(), random.standard_normal(_A_PULSE).tolist()
            for size, chance, normal in zip(tokens, chances, normals, strict=True):
                went = providers.ask(place, at, size + 1, chance, normal)
                yield Seen(at, size + 1, Try(place, STATUS[went.failure], went))


class _Player:
    """Plays one request after the other."""

    def __init__(self, span: Span) -> None:
        self._providers = Providers(span)
        self._places = {(place.model, place.provider): place for place in PLACES}
        self._answered: dict[Stream, tuple[str, int]] = {}  # the last answer of each: its id and inputs

    def play(self, name: str, at: int, stream: Stream, chance: Sequence[float], normal: Sequence[float]) -> Played:
        """chance: uniform numbers; normal: of the normal distribution."""
        who = int(chance[2] * 1e6)
        person = who % stream.people if stream.people else None
        session = who % 97 + at // (HOUR * 6) if stream.sessions else None
        repeated = self._answered.get(stream)
        if repeated is not None and chance[0] < stream.cached:
            took = int(600 * math.exp(0.4 * normal[0]))
            return Played(name, at, stream, repeated[1], 0, (), 200, None, took, repeated[0], person, session)
        inputs = max(1, min(_MOST_INPUTS, round(stream.inputs * math.exp(stream.spread * normal[0]))))
        an_input = min(_MOST_TOKENS, stream.tokens * math.exp(0.3 * normal[1]))
        tokens = max(inputs, round(inputs * an_input))
        tries = self._tried(stream, at, tokens, chance, normal)
        seconds = sum(one.went.seconds for one in tries)
        if chance[1] > 1.0 - _CANCELLED:
            gone = (*tries[:-1], tries[-1]._replace(status=499))
            took = int(seconds * 700_000)
            return Played(name, at, stream, inputs, 0, gone, 499, "client_closed", took, None, person, session)
        took = int(seconds * 1_000_000) + 900 + 2 * tokens // 100
        status, error_type = _outcome(tries)
        if status != 200:
            return Played(name, at, stream, inputs, 0, tries, status, error_type, took, None, person, session)
        self._answered[stream] = (name, inputs)
        return Played(name, at, stream, inputs, tokens, tries, 200, None, took, None, person, session)

    def _tried(
        self, stream: Stream, at: int, tokens: int, chance: Sequence[float], normal: Sequence[float]
    ) -> tuple[Try, ...]:
        tries: list[Try] = []
        for number, provider in enumerate(_order(stream, chance[1] / (1.0 - _CANCELLED))):
            place = self._places[stream.model, provider]
            went = self._providers.ask(place, at, tokens, chance[3 + number], normal[2 + number])
            tries.append(Try(place, STATUS[went.failure], went))
            if went.failure is None:
                break
        return tuple(tries)


def _order(stream: Stream, chance: float) -> Sequence[str]:
    """Who is asked, in turn: one who is alone is asked once more."""
    names = [name for name, _ in stream.providers]
    if len(names) == 1:
        return names * 2
    for number, (_, share) in enumerate(stream.providers):
        chance -= share
        if chance < 0:
            return [names[number], *names[:number], *names[number + 1 :]][:_TRIES]
    return names[:_TRIES]


def _outcome(tries: Sequence[Try]) -> tuple[int, str | None]:
    """The status and error of a request whose last attempt decides, if it is good."""
    if tries[-1].status == 200:
        return 200, None
    failures = {one.went.failure for one in tries}
    if failures == {"rate_limited"}:
        return 429, "rate_limit_exceeded"
    if "timeout" in failures and failures <= {"timeout", "rate_limited", "overloaded"}:
        return 504, "timeout"
    return 502, "provider_unavailable"
