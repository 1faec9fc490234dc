from pathlib import Path

from fault.chaos import run


def test_while_one_of_five_providers_is_healthy_every_request_is_answered_rightly(tmp_path: Path) -> None:
    """100,000 requests by hand: python -m fault.chaos."""
    report = run(tmp_path, 1_500, seed=5)
    assert report.wrong == 0, report
    assert sum(report.statuses.values()) == 1_500, report
    assert report.faults > 50, report  # else nothing was tried
    assert report.answered == 1_500, report
