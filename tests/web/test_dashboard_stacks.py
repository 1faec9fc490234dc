"""Usage as charts: what is drawn in which colour."""

from embedrouter.ledger.series import Name, Point, Series, Totals
from embedrouter.ledger.spans import Span
from embedrouter.web.dashboard.stacks import Measure, stack

_DAY = 86_400


def _colours(usage: Series, measure: Measure) -> dict[str, str | None]:
    return {one.name: one.colour for one in stack(usage, measure, "").series}


def _usage(many: int) -> Series:
    """The first costs most, the last has most tokens."""
    names = tuple(Name(f"model-{number}", f"model-{number}") for number in range(many))
    of = [Totals(requests=1, tokens=number + 1, cost_pico=many - number) for number in range(many)]
    points = tuple(Point(0, name.id, totals) for name, totals in zip(names, of, strict=True))
    return Series(Span(0, _DAY), "day", points, names, Totals(*map(sum, zip(*of, strict=True))), Totals())


def test_a_model_has_its_colour_in_each_chart_of_a_page() -> None:
    spend, tokens = (_colours(_usage(8), measure) for measure in ("spend", "tokens"))
    assert list(spend) == list(reversed(tokens))
    assert spend == tokens
    assert spend["model-0"] == "series-1"
    assert len(set(spend.values())) == 8


def test_no_two_have_one_colour_where_most_share_the_last() -> None:
    spend, tokens = (_colours(_usage(30), measure) for measure in ("spend", "tokens"))
    assert not set(spend) & set(tokens) - {"All others"}
    for drawn in (spend, tokens, _colours(_usage(9), "tokens")):
        assert len(set(drawn.values())) == len(drawn) == 8
        assert drawn["All others"] == "series-8"
