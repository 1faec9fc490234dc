"""POST /rerank: order, scores, bounds, and what is wrong with a body."""

from typing import Any

import numpy as np
import pytest

from api.rules import made, slug
from server import KEY, MODEL, PICO_PER_TOKEN, Answer, Server, sentences, shared

_QUERY = "What is the capital of France?"
_DOCUMENTS = [
    "Berlin is the capital of Germany.",
    "Paris is the capital of France.",
    "Bread needs flour, water, salt and yeast.",
]


def rerank(server: Server, documents: Any, query: Any = _QUERY, headers: Any = None, **fields: Any) -> Answer:
    body = {"model": MODEL, "query": query, "documents": documents, **fields}
    return server.request("POST", "/api/v1/rerank", body, headers, key=KEY)


def test_documents_come_in_the_order_of_their_cosine_with_the_query(live: Server) -> None:
    vectors = live.embed([_QUERY, *_DOCUMENTS]).vectors().astype(np.float64)
    cosines = vectors[1:] @ vectors[0]
    answer = rerank(live, _DOCUMENTS).json()
    assert [one["index"] for one in answer["results"]] == np.argsort(-cosines).tolist() == [1, 0, 2]
    for one in answer["results"]:
        assert one["relevance_score"] == pytest.approx(cosines[one["index"]], abs=1e-6)
        assert one["document"] == {"text": _DOCUMENTS[one["index"]]}


def test_a_document_that_is_the_query_scores_one_and_an_object_ranks_as_its_text(live: Server) -> None:
    answer = rerank(live, [{"text": _DOCUMENTS[0]}, {"text": _QUERY, "image": None}]).json()
    assert answer["results"][0] == {"index": 1, "relevance_score": 1.0, "document": {"text": _QUERY}}
    assert answer["results"][1]["relevance_score"] == rerank(live, _DOCUMENTS[:1]).json()["results"][0][
        "relevance_score"
    ]  # fmt: skip


def test_of_the_same_score_the_lower_index_is_first_and_the_text_is_billed_once(live: Server) -> None:
    once = rerank(live, [_DOCUMENTS[2], _DOCUMENTS[1]]).json()["usage"]
    documents = [_DOCUMENTS[2], _DOCUMENTS[1], _DOCUMENTS[2], _DOCUMENTS[1], _DOCUMENTS[2]]
    answer = rerank(live, documents).json()
    assert [one["index"] for one in answer["results"]] == [1, 3, 0, 2, 4]
    assert answer["usage"] == once


def test_top_n_gives_the_best_and_no_more_than_there_are(live: Server) -> None:
    every = rerank(live, _DOCUMENTS).json()["results"]
    assert rerank(live, _DOCUMENTS, top_n=1).json()["results"] == every[:1]
    assert rerank(live, _DOCUMENTS, top_n=99).json()["results"] == every


def test_it_is_one_generation_that_says_what_it_is_and_costs_what_its_tokens_do(managed: Server) -> None:
    answer = rerank(managed, _DOCUMENTS, user="somebody", session_id="s1")
    document = answer.json()
    usage = document["usage"]
    assert answer.headers["x-generation-id"] == document["id"]
    assert "server-timing" in answer.headers
    assert usage["total_tokens"] == managed.embed([_QUERY, *_DOCUMENTS]).tokens()
    assert round(usage["cost"] * 1e12) == usage["total_tokens"] * PICO_PER_TOKEN
    assert usage["search_units"] == 1
    kept = managed.manage("GET", f"/generation?id={document['id']}").json()["data"]
    assert (kept["api_type"], kept["tokens_prompt"]) == ("rerank", usage["total_tokens"])
    assert (kept["external_user"], kept["session_id"]) == ("somebody", "s1")


def test_as_many_documents_as_it_takes_and_one_more(live: Server) -> None:
    documents = sentences(2047, 3)
    answer = rerank(live, documents, documents[1000], top_n=2).json()
    assert answer["results"][0]["index"] == 1000
    assert answer["usage"]["search_units"] == 21
    error = rerank(live, [*documents, "one more"]).error(400, "invalid_request")
    assert error["message"] == "documents has 2,048 items; send 1 to 2,047 in a request"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"documents": []}, "documents has 0 items; send 1 to 2,047"),
        ({"documents": ["a", ""]}, "documents[1] is empty"),
        ({"documents": ["a", {"text": ""}]}, "documents[1] is empty"),
        ({"documents": ["a", {}]}, "documents[1] has no text"),
        ({"documents": ["a", {"image": "https://x.example/y.png"}]}, "documents[1] has an image"),
        ({"documents": ["a", {"image": "x", "text": "y"}]}, "documents[1] has an image"),
        ({"documents": ["a", 7]}, "documents[1]: expected str | object, got int"),
        ({"documents": "a"}, "documents: expected array, got str"),
        ({"documents": None}, "documents: expected array, got null"),
        ({"query": ""}, "query is empty"),
        ({"query": ["a"]}, "query: expected str, got array"),
        ({"top_n": 0}, "top_n: expected int >= 1"),
        ({"top_n": 1.5}, "top_n: expected int | null, got float"),
        ({"truncate": False, "documents": ["a", "word " * 300]}, "documents[1] has 302 tokens, the limit is 256"),
        ({"truncate": False, "query": "word " * 300}, "query has 302 tokens, the limit is 256"),
    ],
)
def test_what_is_wrong_is_named(live: Server, fields: dict[str, Any], message: str) -> None:
    answer = rerank(live, **{"documents": _DOCUMENTS, **fields})
    error = answer.error(400, "context_length_exceeded" if "tokens" in message else "invalid_request")
    assert message in error["message"]
    if message.startswith("documents["):
        assert error["metadata"].get("index", 1) == 1


def test_a_long_document_is_ranked_by_windows_or_cut(live: Server) -> None:
    long = "Bread needs flour. " * 80 + "Paris is the capital of France. " * 80
    by_windows, cut = (rerank(live, [long], **more).json() for more in ({}, {"truncate": True}))
    assert by_windows["results"][0]["relevance_score"] > cut["results"][0]["relevance_score"] + 0.1
    assert cut["usage"]["total_tokens"] < 300 < by_windows["usage"]["total_tokens"]


def test_an_image_is_refused_by_its_modality(live: Server) -> None:
    error = rerank(live, [{"image": "data:image/png;base64,AA=="}]).error(400, "invalid_request")
    assert error["metadata"]["modality"] == "image"


def test_routing_presets_and_methods_are_those_of_embeddings(kept: Server) -> None:
    missing = rerank(kept, _DOCUMENTS, provider={"only": ["other"]}).error(404, "not_found")
    assert missing["availability"]["code"] == "constraint_filtered"
    name = slug()
    made(kept, f"/presets/{name}", {"config": {"model": MODEL}})
    assert rerank(kept, _DOCUMENTS, model=f"@preset/{name}").json()["model"] == MODEL
    wrong = kept.request("GET", "/v1/rerank", key=KEY)
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")


def test_a_guardrail_and_a_rate_hold_for_every_route_that_asks_a_model(kept: Server) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "rerank": {"query": _QUERY, "documents": _DOCUMENTS},
        "similarity": {"texts": _DOCUMENTS},
        "tokenize": {"input": _DOCUMENTS},
    }
    guarded, item = kept.new_key()
    rule = made(kept, "/guardrails", {"name": "no model", "ignored_models": [MODEL]})
    kept.manage("POST", f"/guardrails/{rule['id']}/assignments/keys", {"key_hashes": [item["hash"]]})
    slow, _ = kept.new_key(requests_per_minute=3)
    for path, body in bodies.items():
        sent = {"model": MODEL, **body}
        refused = kept.request("POST", f"/api/v1/{path}", sent, key=guarded)
        assert refused.status in (403, 404), (path, refused.body)
        assert "guardrail" in str(refused.json()), refused.body
        assert kept.request("POST", f"/api/v1/{path}", sent, key=slow).status == 200
    for path, body in bodies.items():
        kept.request("POST", f"/api/v1/{path}", {"model": MODEL, **body}, key=slow).error(429, "rate_limit_exceeded")


def test_an_answer_is_given_again_and_not_to_another_route() -> None:
    server, cache = shared(response_cache_mib=2, store_prompts="true"), {"X-OpenRouter-Cache": "true"}
    first, again = (rerank(server, _DOCUMENTS, "cached?", headers=cache) for _ in range(2))
    assert [one.headers["x-openrouter-cache-status"] for one in (first, again)] == ["MISS", "HIT"]
    assert again.json()["results"] == first.json()["results"]
    assert (again.json()["usage"]["cost"], again.json()["usage"]["search_units"]) == (0, 0)
    body = {"model": MODEL, "query": "cached?", "documents": _DOCUMENTS, "texts": _DOCUMENTS}
    found = [server.request("POST", f"/v1/{path}", body, cache, key=KEY) for path in ("rerank", "similarity")]
    assert [one.headers["x-openrouter-cache-status"] for one in found] == ["MISS", "MISS"]
    content = server.request("GET", f"/v1/generation/content?id={again.headers['x-generation-id']}", key=KEY).json()
    assert content["data"]["input"]["inputs"] == ["cached?", *_DOCUMENTS]
