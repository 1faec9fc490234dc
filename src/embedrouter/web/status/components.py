"""Components and how they are, in words: pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, timedelta
from typing import Final, Literal, NamedTuple

import msgspec

from embedrouter.ledger.incidents import Incident
from embedrouter.ledger.uptime import Answers, ComponentDay, availability
from embedrouter.ledger.zones import today
from embedrouter.periods import SECOND
from embedrouter.routing.facts import Facts
from embedrouter.web.market.offers import Offer
from embedrouter.web.status.board import Answer
from embedrouter.web.uptime import Bar, Strip

State = Literal["up", "degraded", "down", "unknown", "off"]

WORDS: Final[dict[State, str]] = {
    "up": "Works",
    "degraded": "Degraded",
    "down": "Down",
    "unknown": "No recent requests",
    "off": "Switched off",
}
MOST: Final = 60  # incidents that the page shows
_SHORTEST: Final = 30  # days of a strip
_WORST: Final[Sequence[State]] = ("down", "degraded")


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the installation."""

    id: str
    name: str
    state: State
    told: str  # more of it, in a sentence
    href: str | None = None
    strip: Strip | None = None  # None: it is not measured by day

    @property
    def word(self) -> str:
        """The state."""
        return WORDS[self.state]


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as people read it."""

    model: str
    model_href: str
    provider: str
    provider_href: str
    kind: str
    start: int  # microseconds
    end: int | None  # None: it goes on
    duration: str
    worst: float  # percent of the attempts of its worst minute


class Reading(NamedTuple):
    """What health knows of an endpoint now."""

    offer: Offer
    facts: Facts
    attempts: int  # of a day


def database(answer: Answer, *, failing: bool) -> Component:
    """failing: the writer cannot have its transaction."""
    state: State = "up"
    told = "Reads and writes."
    if answer == "silent":
        state, told = "down", "Does not answer in time. What is below may be old."
    elif answer == "away":
        state, told = "down", "Cannot be used at the moment; nothing is charged for what is refused."
    elif failing:
        state, told = "down", "Can be read, but not written."
    return Component(id="database", name="Database", state=state, told=told)


def provider(id_: str, name: str, readings: Sequence[Reading], strip: Strip) -> Component:
    """By its endpoints that were asked in the last day."""
    asked = [one for one in readings if one.attempts]
    bad = [one for one in asked if _state(one.facts) != "up"]
    state: State = "unknown"
    told = "Nothing was asked of it in the last 24 hours."
    if asked:
        state = "up" if not bad else "down" if all(_state(one.facts) == "down" for one in asked) else "degraded"
        told = "All its models answer." if not bad else f"Troubled: {', '.join(one.offer.model.name for one in bad)}."
    return Component(id=f"provider-{id_}", name=name, state=state, told=told, href=f"/providers/{id_}", strip=strip)


def overall(components: Iterable[Component]) -> str:
    """All of it in a sentence."""
    states = {one.name: one.state for one in components}
    for state, told in (("down", "down"), ("degraded", "degraded")):
        names = [name for name, of in states.items() if of == state]
        if names:
            return f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {told}"
    return "Everything that is measured works"


def worst(components: Iterable[Component]) -> State:
    """Of all."""
    found = {one.state for one in components}
    return next((state for state in _WORST if state in found), "up")


def strip_of(name: str, days: Iterable[ComponentDay], span: Sequence[date]) -> Strip:
    """Each day's share of requests that were answered."""
    by_day: dict[date, list[Answers]] = {}
    for one in days:
        by_day.setdefault(one.day, []).append(one.answers)
    bars = [
        Bar(label=f"{day:%-d %b %Y}", key=day.isoformat(), value=availability(by_day.get(day, ())).with_routing)
        for day in span
    ]
    total = availability(answers for day in span for answers in by_day.get(day, ()))
    return Strip(name=name, x_title="Day", bars=bars, total=total.with_routing)


def span_of(days: Iterable[ComponentDay], at: int) -> list[date]:
    """From the first day that is kept, and at least a month, to today. at: microseconds."""
    last = today(at, UTC)
    first = min((one.day for one in days), default=last)
    count = max(_SHORTEST, (last - first).days + 1)
    return [last - timedelta(days=back) for back in reversed(range(count))]


def story(incident: Incident, offer: Offer, at: int) -> Story:
    """at: now, in microseconds."""
    model, by = offer.model, offer.endpoint.provider
    end = at // SECOND if incident.end is None else incident.end
    return Story(
        model=model.name,
        model_href=f"/{model.slug}",
        provider=by.name,
        provider_href=f"/providers/{by.slug}",
        kind="Errors" if incident.kind == "errors" else "Rate limits",
        start=incident.start * SECOND,
        end=None if incident.end is None else incident.end * SECOND,
        duration=duration(max(60, end - incident.start)),
        worst=100.0 * incident.worst,
    )


def stories(incidents: Iterable[Incident], offers: Iterable[Offer], at: int) -> list[Story]:
    """What goes on first, then the newest; of what is in the public catalog."""
    known = {one.id: one for one in offers}
    found = [story(one, known[one.endpoint], at) for one in incidents if one.endpoint in known]
    return sorted(found, key=lambda one: (one.end is not None, -one.start))


def duration(seconds: int) -> str:
    """ "12 min", "2 h 5 min", "3 d 4 h"."""
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, left = divmod(hours, 24)
    return f"{days} d {left} h" if left else f"{days} d"


def _state(facts: Facts) -> State:
    if facts.tier == "down" or facts.reason == "failing" or facts.outage:
        return "down"
    return "up" if facts.tier == "normal" and not facts.closed else "degraded"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
