from pathlib import Path

from fault import rounds


def test_whatever_moment_a_server_is_killed_at_nothing_is_lost_and_nothing_is_charged_twice(
    database_url: str, tmp_path: Path
) -> None:
    """Attack 43."""
    report = rounds.run(tmp_path / "server", database_url, 4)
    assert report.answered > 20
    assert report.statuses[402] > 0  # the poor key reached its limit
