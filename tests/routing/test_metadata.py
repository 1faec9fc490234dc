import msgspec
import pytest
from openrouter.components import OpenRouterMetadata

from catalog.models import endpoint, model
from embedrouter.ledger.attempts import Attempt
from embedrouter.routing.metadata import router_metadata
from routing.cases import planned

_MODEL = model("acme/embed", endpoint("alpha", 1, region="eu"), endpoint("beta", 2, region="us"), endpoint("gamma", 3))
_PERMASLUG = _MODEL.canonical_slug


def _attempt(tag: str, status: int | None, *, is_byok: bool = False) -> Attempt:
    return Attempt(tag.title(), tag, _PERMASLUG, status, 1_000, is_byok)


def test_metadata_says_who_could_serve_who_was_asked_and_who_did() -> None:
    plan = planned(_MODEL, {"ignore": ["gamma"]})
    attempts = [_attempt("alpha", None), _attempt("beta", 200, is_byok=True)]
    made = msgspec.to_builtins(router_metadata("acme/embed", _MODEL, plan, attempts))
    assert made == {
        "requested": "acme/embed",
        "strategy": "direct",
        "region": "us",
        "summary": "available=2, selected=Beta",
        "attempt": 2,
        "is_byok": True,
        "endpoints": {
            "total": 3,
            "available": [
                {"provider": "Alpha", "model": _PERMASLUG, "selected": False},
                {"provider": "Beta", "model": _PERMASLUG, "selected": True},
            ],
        },
        "attempts": [
            {"provider": "Alpha", "model": _PERMASLUG, "status": 0},
            {"provider": "Beta", "model": _PERMASLUG, "status": 200},
        ],
    }
    read = OpenRouterMetadata.model_validate(made)
    assert read.endpoints.available[1].selected
    assert read.attempts
    assert read.attempts[0].status == 0


def test_where_the_parts_were_served_by_several_all_are_selected() -> None:
    attempts = [_attempt("alpha", 200), _attempt("beta", 200), _attempt("alpha", 200), _attempt("gamma", 500)]
    made = router_metadata("acme/embed", _MODEL, planned(_MODEL), attempts)
    assert [one.selected for one in made.endpoints.available] == [True, True, False]
    assert made.summary == "available=3, selected=Alpha+Beta"
    assert made.region is None
    assert made.attempt == 4


def test_a_request_that_reached_no_provider_has_attempt_zero() -> None:
    made = router_metadata("acme/embed", _MODEL, None, [])
    assert (made.attempt, made.summary, made.is_byok) == (0, "available=0, selected=none", False)
    assert (made.endpoints.total, made.endpoints.available, made.attempts) == (0, [], [])


@pytest.mark.parametrize(
    ("requested", "strategy"),
    [
        ("acme/embed", "direct"),
        ("ACME/Embed", "direct"),
        ("acme/embed-20251117", "direct"),
        ("acme/embed:nitro", "direct"),
        ("acme/embed:free", "free"),
        ("embed", "alias"),
        ("embed:floor", "alias"),
    ],
)
def test_the_strategy_says_how_the_model_was_named(requested: str, strategy: str) -> None:
    assert router_metadata(requested, _MODEL, None, []).strategy == strategy
