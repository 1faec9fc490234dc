import pytest

from embedrouter.errors import EmbedRouterError
from embedrouter.providers.wire import Failure, UpstreamError
from embedrouter.routing.candidates import Candidate
from embedrouter.routing.failures import Failed, told
from routing.test_candidates import endpoint


def failed(*failures: Failure, retry_after: float | None = None) -> EmbedRouterError:
    return told(
        [
            Failed(Candidate(endpoint(f"p{place}"), None), UpstreamError(failure, "it broke", retry_after=retry_after))
            for place, failure in enumerate(failures)
        ],
        "some/model",
    )


@pytest.mark.parametrize(
    ("failures", "status", "error_type"),
    [
        (["invalid_request"], 400, "invalid_request"),
        (["server", "invalid_request"], 400, "invalid_request"),
        (["too_long"], 400, "context_length_exceeded"),
        (["rate_limited", "rate_limited"], 429, "rate_limit_exceeded"),
        (["rate_limited", "server"], 502, "provider_unavailable"),
        (["timeout"], 504, "timeout"),
        (["rate_limited", "timeout"], 504, "timeout"),
        (["server", "timeout"], 502, "provider_unavailable"),
        (["unauthorized"], 502, "provider_unavailable"),
        (["payment"], 502, "provider_unavailable"),
        (["refused"], 502, "provider_unavailable"),
        (["invalid_answer"], 502, "provider_unavailable"),
        (["not_found"], 502, "provider_unavailable"),
    ],
)
def test_what_the_caller_is_told(failures: list[Failure], status: int, error_type: str) -> None:
    error = failed(*failures)
    assert (error.status, error.error_type) == (status, error_type)
    assert [one["reason"] for one in error.metadata["previous_errors"]] == failures
    assert f"P{len(failures) - 1}" in error.metadata["provider_name"]


def test_at_capacity_the_soonest_retry_is_named() -> None:
    error = failed("rate_limited", retry_after=2.4)
    assert error.retry_after == 3
    assert error.availability is not None
    assert error.availability["code"] == "capacity_exhausted"


def test_a_providers_fault_with_our_credential_is_not_told_as_the_callers() -> None:
    assert failed("unauthorized").status == 502
