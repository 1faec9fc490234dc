"""One embedrouter as another's provider."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import KEY, MODEL, Server, eventually, sentences, serving

_FAR_FIRST = {"order": ["far"]}
_ONLY_FAR = {"only": ["far"]}


def _catalog(folder: Path, far: Server) -> Path:
    path = folder / "catalog.toml"
    path.write_text(
        f"""
[[providers]]
slug = "far"
name = "Far"
wire = "openai"
base_url = "http://127.0.0.1:{far.port}/api/v1"
allow_private = true
credential_env = "FAR_SECRET"
options = {{ extras = "input_type,truncate" }}

[[models]]
slug = "test/fixed"
context_length = 8192
dimensions = 384
fixed_dimensions = true

[[endpoints]]
model = "test/fixed"
provider = "far"
upstream_model = "{MODEL}"

[[endpoints]]
model = "{MODEL}"
provider = "far"
upstream_model = "{MODEL}"
price_per_million = "0.001"
retains_prompts = false
trains_on_prompts = false
"""
    )
    return path


@pytest.fixture(scope="module")
def secret() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAR_SECRET", KEY)
        yield


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("far")) as server:
        yield server


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory, far: Server, secret: None) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("near")
    with serving(folder, catalog=_catalog(folder, far)) as server:
        yield server


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("truncate", [None, True])
def test_vectors_through_another_gateway_are_the_same_bit_for_bit(
    near: Server, far: Server, encoding: str, truncate: bool | None
) -> None:
    texts = ["one", "Ein zweiter Satz.", "词向量", *sentences(20, 30), " ".join(["long"] * 700)]
    through = near.embed(texts, provider=_ONLY_FAR, encoding_format=encoding, truncate=truncate).json()
    direct = far.embed(texts, encoding_format=encoding, truncate=truncate).json()
    assert through["provider"] == "Far"
    assert through["data"] == direct["data"]
    assert through["usage"]["prompt_tokens"] == direct["usage"]["prompt_tokens"]


def test_vectors_that_may_not_be_cut_are_not(near: Server) -> None:
    assert near.embed("a text", model="test/fixed", dimensions=384).status == 200
    error = near.embed("a text", model="test/fixed", dimensions=100).error(400, "invalid_request")
    assert "384" in error["message"]
    assert len(near.embed("a text", provider=_ONLY_FAR, dimensions=100).json()["data"][0]["embedding"]) == 100


def test_by_default_no_text_leaves_for_it(near: Server) -> None:
    assert {near.embed(f"text {number}").json()["provider"] for number in range(20)} == {"Builtin"}


def test_the_generation_tells_who_was_asked_and_what_it_cost(near: Server) -> None:
    answer = near.embed("how much is it", provider=_ONLY_FAR)
    found = near.request("GET", f"/api/v1/generation?id={answer.headers['x-generation-id']}", key=KEY).json()["data"]
    assert found["provider_name"] == "Far"
    assert [one["status"] for one in found["provider_responses"]] == [200]
    tokens = answer.json()["usage"]["prompt_tokens"]
    assert answer.json()["usage"]["cost"] == pytest.approx(tokens * 1e-9)


def test_the_routers_metadata_are_told_if_asked_for(near: Server) -> None:
    answer = near.embed("who was it", {"X-OpenRouter-Metadata": "enabled"}, provider=_FAR_FIRST).json()
    told = answer["openrouter_metadata"]
    assert told["summary"] == "available=2, selected=Far"
    assert [one["provider"] for one in told["attempts"]] == ["Far"]
    assert "openrouter_metadata" not in near.embed("nobody asked").json()


def test_the_time_is_told_by_part(near: Server) -> None:
    header = near.embed("when", provider=_ONLY_FAR).headers["server-timing"]
    parts = dict(part.strip().split(";dur=") for part in header.split(","))
    assert set(parts) == {"receive", "route", "provider", "settle"}
    assert all(float(value) >= 0 for value in parts.values())


def test_a_gateway_that_is_its_own_provider_is_no_loop_without_end(tmp_path: Path, secret: None) -> None:
    with serving(tmp_path / "itself") as server:
        (tmp_path / "itself" / "data" / "catalog.toml").write_bytes(_catalog(tmp_path, server).read_bytes())
        eventually(lambda: server.embed("is it there?", provider=_ONLY_FAR).status != 404)
        error = server.embed("round and round", provider=_ONLY_FAR).error(502, "provider_unavailable")
        assert "came back to the gateway" in error["message"]
        assert server.embed("round and round", provider=_FAR_FIRST).json()["provider"] == "Builtin"


def test_when_the_far_one_is_killed_in_the_middle_of_a_load_no_client_sees_an_error(
    tmp_path: Path, secret: None
) -> None:
    with serving(tmp_path / "far") as far, serving(tmp_path / "near", catalog=_catalog(tmp_path, far)) as near:
        seen: Counter[tuple[int, str]] = Counter()
        stop = threading.Event()

        def hammer(place: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                answer = near.embed(f"text {place} {number}", provider=_FAR_FIRST)
                seen[answer.status, answer.json().get("provider", "")] += 1

        threads = [threading.Thread(target=hammer, args=(place,)) for place in range(4)]
        for thread in threads:
            thread.start()
        try:
            eventually(lambda: seen[200, "Far"] > 50)
            far.process.kill()
            far.process.wait()
            eventually(lambda: seen[200, "Builtin"] > 200)
            time.sleep(0.5)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert set(seen) == {(200, "Far"), (200, "Builtin")}, seen
