"""The built scripts and styles, and pages without them."""

import gzip
import logging
import re
from pathlib import Path

import pytest

from embedrouter.web import assets
from server import Server


def _linked(live: Server) -> list[str]:
    return re.findall(r'(?:src|href)="(/assets/[^"]+)"', live.get("/").body.decode())


def test_what_pages_link_to_is_kept_for_ever_and_sent_small(live: Server) -> None:
    links = _linked(live)
    assert {Path(link).suffix for link in links} == {".css", ".js", ".svg"}
    for link in links:
        plain = live.get(link)
        assert plain.status == 200
        assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert plain.headers["x-content-type-options"] == "nosniff"
        small = live.request("GET", link, headers={"Accept-Encoding": "gzip, br"})
        if small.headers.get("content-encoding") == "gzip":
            assert gzip.decompress(small.body) == plain.body
    assert sum(len(live.request("GET", link, headers={"Accept-Encoding": "gzip"}).body) for link in links) < 40_000


@pytest.mark.parametrize("name", ["nothing.js", "manifest.json", "..%2fassets.py", "%2e%2e/assets.py", "..%2f", "%00"])
def test_nothing_else_is_served(live: Server, name: str) -> None:
    assert live.get(f"/assets/{name}").status == 404


def test_pages_are_served_without_a_build_and_the_log_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(assets, "BUILT", tmp_path / "nothing")
    assets._read.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert assets.built() == assets.Built()
        assets.built()
    assert len(caplog.records) == 1
    assert "make assets" in caplog.text
    assets._read.cache_clear()


def test_a_browser_is_told_in_html_what_a_program_is_told_in_json(live: Server) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path, status in (("/nope", 404), ("/theme", 405)):
        page = live.request("GET", path, headers=browser)
        assert page.status == status
        assert page.headers["content-type"].startswith("text/html")
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert live.get(path).headers["content-type"] == "application/json"
    for path in ("/api/v1/nope", "/v1/nope", "/api/nope"):
        assert live.request("GET", path, headers=browser).headers["content-type"] == "application/json"
