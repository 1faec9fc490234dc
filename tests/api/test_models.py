"""GET /models and its relatives: what is listed, filtered, paged and priced."""

from decimal import Decimal

import pytest

from server import MODEL, Server

_CANONICAL = f"{MODEL}-20251117"
_LISTS = ["/api/v1/models", "/api/v1/embeddings/models", "/v1/models", "/v1/embeddings/models"]


@pytest.mark.parametrize("path", _LISTS)
def test_the_model_is_listed_by_default(live: Server, path: str) -> None:
    document = live.get(path).json()
    assert [model["id"] for model in document["data"]] == [MODEL]
    assert document["total_count"] == 1
    assert document["links"] == {"next": None}


def test_the_facts_are_the_contracts(live: Server) -> None:
    model = live.get("/api/v1/models").json()["data"][0]
    assert model["canonical_slug"] == _CANONICAL
    assert model["hugging_face_id"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert model["name"] == "Sentence Transformers: all-MiniLM-L6-v2"
    assert model["created"] == 1_763_337_600  # 2025-11-17T00:00:00Z
    assert model["context_length"] == 8192
    assert model["architecture"]["modality"] == "text->embeddings"
    assert model["architecture"]["input_modalities"] == ["text"]
    assert model["architecture"]["output_modalities"] == ["embeddings"]
    assert model["pricing"]["prompt"] == "0.000000005"
    assert model["pricing"]["completion"] == "0"
    assert Decimal(model["pricing"]["prompt"]) * 1_000_000 == Decimal("0.005")
    assert model["links"]["details"] == f"/api/v1/models/{_CANONICAL}/endpoints"
    assert live.get(model["links"]["details"]).status == 200


@pytest.mark.parametrize("name", [MODEL, _CANONICAL, "sentence-transformers/all-MiniLM-L6-v2", MODEL.upper()])
def test_one_model_is_found_by_every_name(live: Server, name: str) -> None:
    listed = live.get("/api/v1/models").json()["data"][0]
    assert live.get(f"/api/v1/model/{name}").json() == {"data": listed}
    assert live.get(f"/api/v1/models/{name}/endpoints").json()["data"]["id"] == MODEL


def test_the_endpoint_is_this_machine_in_the_precision_it_runs(live: Server) -> None:
    found = live.get(f"/api/v1/models/{MODEL}/endpoints").json()["data"]
    (endpoint,) = found["endpoints"]
    quantization = {"float32": "fp32", "bfloat16": "bf16"}[live.get("/ready").json()["precision"]]
    assert endpoint["quantization"] == quantization
    assert endpoint["tag"] == f"builtin/{quantization}"
    assert endpoint["provider_name"] == "Builtin"
    assert endpoint["name"] == f"Builtin | {_CANONICAL}"
    assert endpoint["context_length"] == endpoint["max_prompt_tokens"] == 8192
    assert endpoint["pricing"]["prompt"] == "0.000000005"
    assert endpoint["status"] == 0


def test_the_provider_is_listed(live: Server) -> None:
    (provider,) = live.get("/api/v1/providers").json()["data"]
    assert (provider["slug"], provider["name"]) == ("builtin", "Builtin")
    for field in ("privacy_policy_url", "terms_of_service_url", "status_page_url", "headquarters", "datacenters"):
        assert provider[field] is None


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("output_modalities=embeddings", True),
        ("output_modalities=all", True),
        ("output_modalities=text,%20Embeddings", True),
        ("output_modalities=text", False),
        ("output_modalities=text,image", False),
        ("input_modalities=text", True),
        ("input_modalities=image", False),
        ("q=MiniLM", True),
        ("q=sentence-transformers%2F", True),
        ("q=gpt", False),
        ("context=8192", True),
        ("context=8193", False),
        ("min_price=0.005", True),
        ("min_price=0.0051", False),
        ("max_price=0.005", True),
        ("max_price=0.0049", False),
        ("min_price=0&max_price=1", True),
        ("model_authors=Sentence-Transformers,x", True),
        ("model_authors=openai", False),
        ("providers=builtin", True),
        ("providers=openai", False),
        ("supported_parameters=seed,top_k", True),
        ("supported_parameters=seed,tools", False),
        ("zdr=true", True),
        ("zdr=false", True),
        ("sort=newest", True),
        ("sort=pricing-low-to-high", True),
        ("sort=latency-low-to-high", True),
        ("category=programming&unknown=1", True),
        ("q=", True),
    ],
)
def test_filters(live: Server, query: str, found: bool) -> None:
    document = live.get(f"/api/v1/models?{query}").json()
    assert len(document["data"]) == document["total_count"] == int(found)


@pytest.mark.parametrize(
    ("query", "count"), [("", 1), ("output_modalities=embeddings", 1), ("output_modalities=text", 0)]
)
def test_the_count_is_the_listings(live: Server, query: str, count: int) -> None:
    assert live.get(f"/api/v1/models/count?{query}").json() == {"data": {"count": count}}


@pytest.mark.parametrize(
    ("query", "shown"),
    [("offset=0", 1), ("limit=1", 1), ("offset=0&limit=500", 1), ("offset=1", 0), ("offset=1000000&limit=1000", 0)],
)
@pytest.mark.parametrize("path", _LISTS[:2])
def test_pages(live: Server, path: str, query: str, shown: int) -> None:
    document = live.get(f"{path}?{query}").json()
    assert len(document["data"]) == shown
    assert document["total_count"] == 1
    assert document["links"] == {"next": None}


@pytest.mark.parametrize(
    "query",
    [
        "offset=-1", "offset=x", "offset=1000001", "limit=0", "limit=-1", "limit=1001", "limit=1.5", "limit=%00",
        "context=-1", "context=x", "min_price=-1", "max_price=nan", "max_price=inf", "max_price=1e400", "sort=cheapest",
        "zdr=1", "q=" + "x" * 1001,
    ],
)  # fmt: skip
def test_wrong_queries_are_refused(live: Server, query: str) -> None:
    refused = live.get(f"/api/v1/models?{query}").error(400, "invalid_request")
    assert refused["message"].startswith(query.partition("=")[0])


def test_the_listing_never_names_where_it_was_asked(live: Server) -> None:
    """A forged Host header must not find its way into links."""
    answer = live.request("GET", "/api/v1/models?offset=0&limit=1", headers={"Host": "evil.example"})
    assert answer.status == 200
    assert b"evil" not in answer.body
