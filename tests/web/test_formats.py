"""How numbers, money and times are told to people."""

import pytest

from embedrouter.web.charts import Chart, Series
from embedrouter.web.formats import (
    compact,
    duration,
    machine_time,
    measured,
    milliseconds,
    money,
    outside,
    percent,
    price,
    when,
)
from embedrouter.web.forms import address


@pytest.mark.parametrize(
    ("value", "told"),
    [(None, "–"), (0, "0"), (999, "999"), (9_999, "9,999"), (10_000, "10K"), (60_812_345, "60.8M"), (999_960, "1M"),
     (2_000_000_000, "2B"), (3_100_000_000_000, "3.1T"), (0.25, "0.2"), (-12_345, "-12.3K")],
)  # fmt: skip
def test_counts_are_short(value: float | None, told: str) -> None:
    assert compact(value) == told


@pytest.mark.parametrize(
    ("pico", "told"),
    [(None, "–"), (0, "$0"), (5_000, "$0.000000005"), (1_234_567_000_000, "$1.23"), (1_500 * 10**12, "$1,500.00"),
     (-2 * 10**11, "-$0.2"), (123_456_789, "$0.000123")],
)  # fmt: skip
def test_money_is_never_rounded_to_nothing(pico: int | None, told: str) -> None:
    assert money(pico) == told


def test_prices_are_exact_by_the_million_tokens() -> None:
    assert price(5_000) == "$0.005"
    assert price(0) == "Free"
    assert price(1) == "$0.000001"


@pytest.mark.parametrize(
    ("value", "told"), [(None, "–"), (100, "100%"), (99.99, "99.9%"), (99.94, "99.9%"), (0, "0%"), (95.25, "95.2%")]
)
def test_less_than_all_is_never_told_as_all(value: float | None, told: str) -> None:
    assert percent(value) == told


def test_how_long_something_takes_is_rounded_up() -> None:
    assert [duration(seconds) for seconds in (0.2, 40, 99.5, 100, 5999, 6001)] == [
        "1 s", "40 s", "100 s", "2 min", "100 min", "2 h",
    ]  # fmt: skip


def test_times_say_their_zone() -> None:
    at = 1_764_000_000 * 1_000_000
    assert when(at) == "2025-11-24 16:00 UTC"
    assert machine_time(at) == "2025-11-24T16:00:00Z"
    assert [milliseconds(value) for value in (None, 1.44, 12, 480.4, 12_345)] == [
        "–",
        "1.4 ms",
        "12 ms",
        "480 ms",
        "12.3 s",
    ]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//x.org", "http://", "x", "", None, "http://["]
)
def test_only_web_addresses_are_linked_to(url: str | None) -> None:
    assert outside(url) is None
    assert outside("https://example.org/a?b") == "https://example.org/a?b"


def test_an_address_has_what_is_given_and_no_more() -> None:
    assert (
        address("/models", q="a&b", page=2, sort=None, author=["x", "y"]) == "/models?q=a%26b&page=2&author=x&author=y"
    )
    assert address("/models", q="") == "/models"


def test_a_charts_table_has_all_its_numbers_and_its_gaps() -> None:
    series = (Series(name="a", values=(1, None)), Series(name="b", values=(None, 60_812_345)))
    chart = Chart(kind="bars", caption="c", unit="tokens", x=("Mon", "Tue"), series=series)
    assert (chart.head, list(chart.rows)) == (["Day", "a", "b"], [["Mon", "1", "–"], ["Tue", "–", "60.8M"]])
    assert not chart.is_empty
    assert Chart(kind="bars", caption="c", unit="usd", x=("Mon",), series=(Series(name="a", values=(None,)),)).is_empty
    assert measured(0.005, "usd") == "$0.005"
