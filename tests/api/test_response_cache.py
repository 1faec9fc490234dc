"""The response cache, at a real server; its parts that need a clock, with a clock of their own."""

import gzip
import json
import re
import threading
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import msgspec
import pytest
from sqlalchemy import create_engine, text

from embedrouter.accounts import keys
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.keys import ApiKey, KeyChange, NewKey
from embedrouter.api.cache_ticket import ttl_of
from embedrouter.catalog.builtin import builtin_model
from embedrouter.catalog.models import Price
from embedrouter.ledger import doctor
from embedrouter.ledger.book import now
from embedrouter.response_cache import Encoded, Key, ResponseCache, Ticket
from embedrouter.store import Database, Writer
from embedrouter.work import Source
from server import EMBEDDINGS, MODEL, Answer, Server, cl100k, eventually, sentences, shared

_CACHE = {"X-OpenRouter-Cache": "true"}
_numbers = iter(range(1_000_000))


@pytest.fixture(scope="module")
def server() -> Server:
    return shared(response_cache_mib=2, store_prompts="true")


@pytest.fixture
def words() -> str:
    """A text that no other test sends."""
    return f"text number {next(_numbers)}"


class Keys:
    """Makes and changes keys in a running server's database."""

    def __init__(self, server: Server, writer: Writer) -> None:
        self._server = server
        self._writer = writer

    def create(self, **limits: Any) -> str:
        secret = keys.new_secret()
        wanted = NewKey(keys.digest_of(secret), keys.masked(secret), "test", "api", now(), WORKSPACE, **limits)
        made = self._writer.submit(keys.create, wanted).result()
        assert isinstance(made, ApiKey)
        eventually(lambda: ask(self._server, "known?", key=secret).status != 401)
        return secret

    def disable(self, secret: str) -> None:
        change = KeyChange(keys.digest_of(secret).hex(), {"disabled": True}, now())
        self._writer.submit(keys.change, change).result()


@pytest.fixture
def made(server: Server) -> Iterator[Keys]:
    database = Database(f"sqlite:///{server.data_dir / 'embedrouter.db'}")
    with closing(database), closing(Writer(database)) as writer:
        yield Keys(server, writer)


class Row(NamedTuple):
    """What is looked at of a generation."""

    status: int
    inputs: int
    prompt_tokens: int
    cost_pico: int
    attempts: str
    cache_source_id: str | None
    http_referer: str | None


def row(server: Server, answer: Answer) -> Row:
    """The generation of an answer, as it is now."""
    return Row(*_select(server, answer, "generations", Row._fields))


def _select(server: Server, answer: Answer, table: str, columns: Sequence[str]) -> Sequence[Any]:
    engine = create_engine(f"sqlite:///{server.data_dir / 'embedrouter.db'}")
    with engine.connect() as connection:
        query = text(f"SELECT {', '.join(columns)} FROM {table} WHERE id = :id")
        found = connection.execute(query, {"id": answer.headers["x-generation-id"]}).one()
    engine.dispose()
    return found


def ask(
    server: Server,
    given: Any,
    headers: Mapping[str, str] = _CACHE,
    *,
    key: str | None = None,
    body: bytes | str | None = None,
    **fields: Any,
) -> Answer:
    sent = body if body is not None else {"model": MODEL, "input": given, **fields}
    return server.request("POST", EMBEDDINGS, sent, headers, key=key or server.key)


def state(answer: Answer) -> str | None:
    assert answer.status == 200, answer.body[:500]
    return answer.headers.get("x-openrouter-cache-status")


# --- what a hit is


def test_without_the_header_nothing_is_kept_or_said(server: Server, words: str) -> None:
    for headers in ({}, {"X-OpenRouter-Cache": "false"}, {"X-OpenRouter-Cache": "1"}, {"X-OpenRouter-Cache-TTL": "9"}):
        for _ in range(2):
            answer = ask(server, words, headers)
            assert answer.status == 200
            assert not [name for name in answer.headers if name.startswith("x-openrouter-cache")]
            assert answer.tokens() > 0
    assert state(ask(server, words)) == "MISS"


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
@pytest.mark.parametrize("count", [1, 40])
def test_a_hit_is_the_same_answer_with_a_new_id_and_nothing_to_pay(
    server: Server, words: str, count: int, encoding_format: str
) -> None:
    given = [f"{words} {number}" for number in range(count)]
    miss = ask(server, given, encoding_format=encoding_format)
    hit = ask(server, given, encoding_format=encoding_format)
    assert (state(miss), state(hit)) == ("MISS", "HIT")
    assert miss.headers["x-openrouter-cache-ttl"] == "300"
    assert "x-openrouter-cache-age" not in miss.headers
    assert "x-openrouter-cache-source-id" not in miss.headers
    age, left = (int(hit.headers[f"x-openrouter-cache-{name}"]) for name in ("age", "ttl"))
    assert 0 <= age < 60
    assert age + left == 300
    assert hit.headers["x-openrouter-cache-source-id"] == miss.json()["id"]
    assert hit.headers["x-embedding-fingerprint"] == miss.headers["x-embedding-fingerprint"]

    first, again = miss.json(), hit.json()
    assert list(first) == list(again)
    for field in ("object", "data", "model", "provider"):
        assert first[field] == again[field]
    assert again["id"] == hit.headers["x-generation-id"] != first["id"]
    assert hit.tokens() == 0
    assert again["usage"]["cost"] == 0
    assert again["usage"]["cost_details"]["upstream_inference_prompt_cost"] == 0
    assert first["usage"]["cost"] > 0
    assert set(first["usage"]) == set(again["usage"])


def test_a_hit_is_a_generation_of_its_own_and_free(server: Server, words: str) -> None:
    headers = {**_CACHE, "HTTP-Referer": "https://one.example"}
    miss = ask(server, [words, "two"], headers)
    hit = ask(server, [words, "two"], {**headers, "HTTP-Referer": "https://two.example"})
    assert state(hit) == "HIT"
    paid, free = row(server, miss), row(server, hit)
    assert free == Row(200, 2, 0, 0, "[]", miss.json()["id"], "https://two.example")
    assert (paid.prompt_tokens, paid.cache_source_id) == (miss.tokens(), None)
    assert paid.cost_pico == miss.tokens() * 5_000


def test_a_hit_keeps_its_prompt_where_prompts_are_kept(server: Server, words: str) -> None:
    for given in (words, cl100k(words)):
        answers = [ask(server, given) for _ in range(2)]
        assert [state(answer) for answer in answers] == ["MISS", "HIT"]
        for answer in answers:
            (prompt,) = _select(server, answer, "generation_contents", ["prompt"])
            assert json.loads(prompt) == [words]


def test_the_books_agree_after_hits(server: Server, words: str) -> None:
    for _ in range(3):
        ask(server, words)
    database = Database(f"sqlite:///{server.data_dir / 'embedrouter.db'}")
    with closing(database):
        found = database.read_now(doctor.examine)
    assert found.findings == []


def test_a_cut_answer_says_so_again(server: Server, words: str) -> None:
    miss, hit = (ask(server, [words, f"{words} " * 300], truncate=True) for _ in range(2))
    assert state(hit) == "HIT"
    assert miss.headers["x-embedding-truncated"] == hit.headers["x-embedding-truncated"] == "1"


def test_hits_and_misses_are_counted(server: Server, words: str) -> None:
    before = server.metrics()
    for _ in range(3):
        ask(server, words)
    ask(server, words, {})
    after = server.metrics()
    grown = {name: after[f"embedrouter_{name}"] - before[f"embedrouter_{name}"] for name in (
        "response_cache_hits_total", "response_cache_misses_total", "response_cache_entries", "inputs_total",
    )}  # fmt: skip
    assert list(grown.values()) == [2, 1, 1, 2]
    assert after["embedrouter_response_cache_bytes"] > before["embedrouter_response_cache_bytes"]


def test_both_bases_share_their_answers(server: Server, words: str) -> None:
    body = {"model": MODEL, "input": words}
    assert state(server.request("POST", "/api/v1/embeddings", body, _CACHE, key=server.key)) == "MISS"
    assert state(server.request("POST", "/v1/embeddings", body, _CACHE, key=server.key)) == "HIT"


# --- what is the same request


def test_white_space_and_compression_do_not_count(server: Server, words: str) -> None:
    tight = f'{{"model":"{MODEL}","input":"{words} \\" {{ a  : b,"}}'
    loose = f' {{\n\t"model" : "{MODEL}" ,\r\n  "input" : "{words} \\" {{ a  : b," }} \n'
    assert state(ask(server, None, body=tight)) == "MISS"
    assert state(ask(server, None, body=loose)) == "HIT"
    packed = gzip.compress(loose.encode())
    assert state(ask(server, None, {**_CACHE, "Content-Encoding": "gzip"}, body=packed)) == "HIT"


@pytest.mark.parametrize(
    "other",
    [
        '{"input":"WORDS","model":"MODEL"}',
        '{"model":"MODEL","input":["WORDS"]}',
        '{"model":"MODEL","input":"WORDS "}',
        '{"model":"MODEL","input":"WORD S"}',
        '{"model":"MODEL","input":"WORDS","user":"somebody"}',
        '{"model":"MODEL","input":"WORDS","provider":{"sort":"price"}}',
        '{"model":"MODEL","input":"WORDS","dimensions":12}',
        '{"model":"MODEL","input":"WORDS","encoding_format":"base64"}',
        '{"model":"MODEL","input":"WORDS","unknown":null}',
        '{"model":"all-minilm-l6-v2","input":"WORDS"}',
    ],
)
def test_any_other_body_is_another_request(server: Server, words: str, other: str) -> None:
    first = '{"model":"MODEL","input":"WORDS"}'
    fill = words.replace(" ", "")
    for wanted in ("MISS", "HIT"):
        for body in (first, other):
            sent = body.replace("WORDS", fill).replace("WORD S", f"{fill[:-1]} {fill[-1]}").replace("MODEL", MODEL)
            assert state(ask(server, None, body=sent)) == wanted


def test_bodies_of_equal_length_are_kept_apart(server: Server, words: str) -> None:
    """Attack 38."""
    found: dict[str, str] = {}
    for _ in range(2):
        for letter in "abcdefgh":
            answer = ask(server, f"{words} {letter}", encoding_format="base64")
            vector = answer.json()["data"][0]["embedding"]
            assert found.setdefault(letter, vector) == vector
    assert len(set(found.values())) == 8


def test_what_token_ids_mean_is_part_of_the_request(server: Server, words: str) -> None:
    ids = cl100k(words)
    as_text = ask(server, ids)
    as_ids = ask(server, ids, {**_CACHE, "X-Token-Encoding": "model"})
    assert (state(as_text), state(as_ids)) == ("MISS", "MISS")
    assert as_text.json()["data"] != as_ids.json()["data"]
    for headers, wanted in (({}, as_text), ({"X-Token-Encoding": " MODEL"}, as_ids)):
        hit = ask(server, ids, {**_CACHE, **headers})
        assert state(hit) == "HIT"
        assert hit.json()["data"] == wanted.json()["data"]
    ask(server, ids, {**_CACHE, "X-Token-Encoding": "other"}).error(400, "invalid_request")


def test_who_an_app_says_it_is_does_not_count(server: Server, words: str) -> None:
    assert state(ask(server, words)) == "MISS"
    for header in ("HTTP-Referer", "X-OpenRouter-Title", "X-Title", "X-OpenRouter-Categories", "X-Session-Id"):
        assert state(ask(server, words, {**_CACHE, header: "https://app.example"})) == "HIT"


def test_only_right_answers_are_kept(server: Server, words: str) -> None:
    for _ in range(2):
        refused = ask(server, [words, ""])
        refused.error(400, "invalid_request")
        assert "x-openrouter-cache-status" not in refused.headers
    for _ in range(2):
        ask(server, words, model="nobody/nothing").error(404, "not_found")


def test_requests_at_once_are_each_answered(server: Server, words: str) -> None:
    found: list[Answer] = []
    threads = [threading.Thread(target=lambda: found.append(ask(server, words))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {state(answer) for answer in found} <= {"HIT", "MISS"}
    assert len({answer.json()["id"] for answer in found}) == 8
    assert len({json.dumps(answer.json()["data"]) for answer in found}) == 1
    assert state(ask(server, words)) == "HIT"


# --- time to live


def test_a_client_chooses_how_long_and_clears(server: Server, words: str) -> None:
    first = ask(server, words, {**_CACHE, "X-OpenRouter-Cache-TTL": "60abc"})
    assert first.headers["x-openrouter-cache-ttl"] == "60"
    assert state(ask(server, words, {"X-OpenRouter-Cache-Clear": "true"})) is None
    hit = ask(server, words, {**_CACHE, "X-OpenRouter-Cache-Clear": "false"})
    assert state(hit) == "HIT"
    assert int(hit.headers["x-openrouter-cache-ttl"]) <= 60
    other = ask(server, f"{words}!")
    cleared = ask(server, words, {**_CACHE, "X-OpenRouter-Cache-Clear": "true"})
    assert state(cleared) == "MISS"
    assert cleared.tokens() == first.tokens()
    again = ask(server, words)
    assert again.headers["x-openrouter-cache-source-id"] == cleared.json()["id"]
    assert ask(server, f"{words}!").headers["x-openrouter-cache-source-id"] == other.json()["id"]


def test_an_answer_past_its_time_is_forgotten(server: Server, words: str) -> None:
    short = {**_CACHE, "X-OpenRouter-Cache-TTL": "1"}
    entries = server.metrics()["embedrouter_response_cache_entries"]
    assert state(ask(server, words, short)) == "MISS"
    eventually(lambda: server.metrics()["embedrouter_response_cache_entries"] <= entries)
    assert state(ask(server, words, short)) == "MISS"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 300), ("", 300), ("junk", 300), ("abc60", 300), (".5", 300), ("-", 300), ("+-5", 300), ("\xb2", 300),
        ("60", 60), ("60abc", 60), ("1.5", 1), ("1e3", 1), (" \t60", 60), ("+7", 7), ("007", 7), ("0x10", 1),
        ("0", 1), ("-5", 1), ("-999999", 1), ("86400", 86_400), ("86401", 86_400), ("9" * 5_000, 86_400),
        ("0" * 5_000 + "9", 9), ("-" + "9" * 5_000, 1),
    ],
)  # fmt: skip
def test_a_time_to_live_is_read_as_parse_int_reads(header: str | None, seconds: int) -> None:
    assert ttl_of(header) == seconds


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 12_345.6

    def __call__(self) -> float:
        return self.now


_MODEL = builtin_model("fp32")
_SOURCE = Source("gen-1", _MODEL, _MODEL.endpoints[0], 1)
_ANSWER = Encoded(b"x" * 1_000, 900)


def ticket(what: str = "a", *, ttl: int = 300, clear: bool = False) -> Ticket:
    key: Key = (1, what.encode().ljust(32))
    return Ticket(key, ttl, clear)


def test_an_answer_is_found_to_its_last_moment_and_counts_its_age() -> None:
    clock = Clock()
    cache = ResponseCache(1 << 20, clock)
    assert cache.keep(ticket(ttl=10), _ANSWER, _SOURCE, {})
    for passed, age in ((0.0, 0), (0.9, 0), (0.2, 1), (8.85, 9)):
        clock.now += passed
        hit = cache.find(ticket(), _MODEL)
        assert hit is not None
        assert hit.age == age
        assert hit.headers["X-OpenRouter-Cache-TTL"] == str(10 - age)
    clock.now += 0.05
    assert cache.find(ticket(), _MODEL) is None
    assert (cache.hits, cache.misses) == (4, 1)
    assert (len(cache.entries), cache.entries.size) == (0, 0)


def test_an_answer_of_a_model_that_changed_since_is_not_given_again() -> None:
    cache = ResponseCache(1 << 20, Clock())
    dearer = msgspec.structs.replace(_MODEL.endpoints[0], price=Price(prompt=1))
    for changed in (
        msgspec.structs.replace(_MODEL, endpoints=(dearer,)),
        msgspec.structs.replace(_MODEL, slug="another/model"),
    ):
        cache.keep(ticket(), _ANSWER, _SOURCE, {})
        assert cache.find(ticket(), builtin_model("fp32")) is not None, "made anew, and the same"
        assert cache.find(ticket(), changed) is None
        assert cache.find(ticket(), _MODEL) is None, "it is gone"


def test_what_has_expired_does_not_stay_in_memory() -> None:
    clock = Clock()
    cache = ResponseCache(1 << 20, clock)
    for number in range(50):
        cache.keep(ticket(str(number), ttl=1 + number % 10), _ANSWER, _SOURCE, {})
    clock.now += 5.5
    cache.drop_expired()
    assert len(cache.entries) == 25
    clock.now += 6
    cache.drop_expired()
    assert (len(cache.entries), cache.entries.size) == (0, 0)


# --- bounds


def test_a_flood_of_answers_stays_within_the_bound_and_its_count_is_honest() -> None:
    """Attack 38."""
    cache = ResponseCache(4 << 20, Clock())
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(4_000):
            source = Source(f"gen-1700000000-{number:020x}", _MODEL, _MODEL.endpoints[0], 1)
            made = {"X-Embedding-Fingerprint": f"sha256:{number:016x};precision=bfloat16;long-inputs=windows"}
            cache.keep(ticket(str(number)), Encoded(b"%01500d" % number, 1_200), source, made)
            assert cache.entries.size <= 4 << 20
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 1_000 < len(cache.entries) < 4_000
    assert 0.6 * cache.entries.size < after - before < cache.entries.size
    assert cache.find(ticket("3999"), _MODEL) is not None
    assert cache.find(ticket("0"), _MODEL) is None


def test_a_flood_at_the_server_stays_within_the_bound(server: Server) -> None:
    for seed in range(16):
        assert state(ask(server, sentences(32, 5, seed=seed))) == "MISS"
        assert server.metrics()["embedrouter_response_cache_bytes"] <= 2 << 20
    assert state(ask(server, sentences(32, 5, seed=15))) == "HIT"
    assert state(ask(server, sentences(32, 5, seed=0))) == "MISS"


def test_an_answer_of_more_than_an_eighth_of_the_cache_is_not_kept(server: Server) -> None:
    for _ in range(2):
        large = ask(server, sentences(80, 3, seed=99))
        assert len(large.body) > (2 << 20) / 8
        assert state(large) == "MISS"
        assert "x-openrouter-cache-ttl" not in large.headers


@pytest.fixture(scope="module")
def vectors() -> Server:
    return shared(response_cache_mib=0, vector_cache_mib=8)


def test_a_cache_of_no_size_is_off(vectors: Server, words: str) -> None:
    for _ in range(2):
        answer = ask(vectors, words)
        assert state(answer) is None
        assert answer.tokens() > 0
    assert vectors.metrics()["embedrouter_response_cache_misses_total"] == 0


def test_texts_in_the_vector_cache_are_found_and_billed(vectors: Server, words: str) -> None:
    given = [words, f"{words} again", words]
    first = ask(vectors, given, {})
    before = vectors.metrics()
    again = ask(vectors, given, {})
    after = vectors.metrics()
    assert again.json()["data"] == first.json()["data"]
    assert again.json()["usage"] == first.json()["usage"]
    assert row(vectors, again).cost_pico == first.tokens() * 5_000
    names = ("vector_cache_hits_total", "vector_cache_misses_total", "inputs_total")
    assert [after[f"embedrouter_{name}"] - before[f"embedrouter_{name}"] for name in names] == [2, 0, 3]


# --- whose it is


def test_a_key_never_finds_what_another_asked(server: Server, made: Keys, words: str) -> None:
    """Attacks 21 and 38."""
    other = made.create()
    mine = ask(server, words)
    assert state(ask(server, words)) == "HIT"
    theirs = ask(server, words, key=other)
    assert state(theirs) == "MISS"
    assert theirs.tokens() == mine.tokens()
    hit = ask(server, words, key=other)
    assert hit.headers["x-openrouter-cache-source-id"] == theirs.json()["id"]
    assert ask(server, words).headers["x-openrouter-cache-source-id"] == mine.json()["id"]
    # Clearing reaches no further than the key.
    assert state(ask(server, words, {**_CACHE, "X-OpenRouter-Cache-Clear": "true"}, key=other)) == "MISS"
    assert ask(server, words).headers["x-openrouter-cache-source-id"] == mine.json()["id"]


def test_a_disabled_key_gets_nothing_from_the_cache(server: Server, made: Keys, words: str) -> None:
    """Attack 22."""
    key = made.create()
    assert [state(ask(server, words, key=key)) for _ in range(2)] == ["MISS", "HIT"]
    made.disable(key)
    eventually(lambda: ask(server, "disabled?", key=key).status == 401)
    ask(server, words, key=key).error(401, "authentication")
    ask(server, words, key="sk-er-v1-nobody").error(401, "authentication")


def test_hits_count_against_the_requests_per_minute(server: Server, made: Keys, words: str) -> None:
    key = made.create(requests_per_minute=6)
    found = [ask(server, words, key=key) for _ in range(8)]
    assert [answer.status for answer in found][:4] == [200] * 4
    assert found[-1].status == 429
    assert {state(answer) for answer in found[1:] if answer.status == 200} == {"HIT"}
    refused = found[-1].error(429, "rate_limit_exceeded")
    assert refused["metadata"]["limit"] == "requests_per_minute"
    assert re.fullmatch(r"\d+", found[-1].headers["retry-after"])


def test_hits_cost_a_limited_key_no_tokens(server: Server, made: Keys, words: str) -> None:
    asked = f"{words} " * 20
    key = made.create(tokens_per_minute=ask(server, asked, {}).tokens() + 20, max_concurrent=2)
    assert [state(ask(server, asked, key=key)) for _ in range(6)] == ["MISS"] + ["HIT"] * 5
    ask(server, asked, {}, key=key).error(429, "rate_limit_exceeded")
    assert state(ask(server, asked, key=key)) == "HIT"


def test_hits_cost_a_limited_key_no_money(server: Server, made: Keys, words: str) -> None:
    tokens = ask(server, words, {}).tokens() + ask(server, "known?", {}).tokens()
    key = made.create(limit_pico=tokens * 5_000)
    assert [state(ask(server, words, key=key)) for _ in range(6)] == ["MISS"] + ["HIT"] * 5
    ask(server, words, {}, key=key).error(402, "payment_required")
    assert state(ask(server, words, key=key)) == "HIT"
