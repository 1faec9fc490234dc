"""The model page's eleven parameters and the request's other fields: checked, and without effect on a vector."""

from typing import Any

import pytest

from server import MODEL, Server

_TAKEN: dict[str, list[Any]] = {
    "max_tokens": [1, 8192, 2**40],
    "temperature": [0, 0.7, 1, 2, 2.0],
    "top_p": [0, 0.5, 1],
    "stop": ["x", ["x", "y"], []],
    "frequency_penalty": [-2, 0, 2],
    "presence_penalty": [-2.0, 0.5, 2],
    "repetition_penalty": [0, 1, 2],
    "top_k": [0, 1, 40],
    "seed": [0, -1, 42, 2**40],
    "min_p": [0, 0.1, 1],
    "response_format": [{"type": "json_object"}, {}],
    "user": ["u", ""],
    "input_type": ["search_query"],
    "session_id": ["s" * 256],
    "trace": [{"a": {"b": [1]}}, {}],
    "provider": [{}],
    "encoding_format": ["float"],
    "dimensions": [384],
}
_NULL: Any = None
_REFUSED: dict[str, list[Any]] = {
    "max_tokens": [0, -1, 1.5, "1", True, [1]],
    "temperature": [-0.1, 2.1, "1", True, [1]],
    "top_p": [-0.1, 1.1, "1", False],
    "stop": [1, [1], True, {}],
    "frequency_penalty": [-2.1, 2.1, "0"],
    "presence_penalty": [-3, 3, "0"],
    "repetition_penalty": [-0.1, 2.5, "1"],
    "top_k": [-1, 1.5, "1", True],
    "seed": [1.5, "1", True, []],
    "min_p": [-0.1, 1.1, "0"],
    "response_format": ["json", [], 1, True],
    "user": [1, True, {}],
    "input_type": [1, []],
    "session_id": [1, "s" * 257],
    "trace": [[], "x", 1],
    "provider": ["x", [], 1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in _TAKEN.items() for value in values])
def test_a_right_value_is_taken_and_changes_nothing(live: Server, name: str, value: Any) -> None:
    assert live.embed("hello", **{name: value}).json()["data"] == live.embed("hello").json()["data"]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in _REFUSED.items() for value in values])
def test_a_wrong_value_is_refused_by_name(live: Server, name: str, value: Any) -> None:
    refused = live.embed("hello", **{name: value}).error(400, "invalid_request")
    assert name in refused["message"]
    assert refused["metadata"]["field"].startswith(name)


def test_null_means_not_set_for_every_optional_field(live: Server) -> None:
    answer = live.embed("hello", truncate=None, **dict.fromkeys(_TAKEN, _NULL))
    assert answer.json()["data"] == live.embed("hello").json()["data"]


def test_unknown_fields_are_ignored(live: Server) -> None:
    unknown: dict[str, Any] = {
        "drop_params": True,
        "stream": False,
        "models": ["x"],
        "extra_body": {"deep": [None]},
        "": 1,
        "seed ": "x",
    }
    assert live.embed("hello", **unknown).status == 200
    assert live.embed("hello", provider={"options": {"builtin": {}}, "only": None, "unknown": 1}).status == 200


def test_the_listing_names_the_eleven_parameters_and_no_others(live: Server) -> None:
    listed = live.get(f"/api/v1/model/{MODEL}").json()["data"]["supported_parameters"]
    others = {"user", "input_type", "session_id", "trace", "provider", "encoding_format", "dimensions"}
    assert sorted(listed) == sorted(_TAKEN.keys() - others)


def test_an_optional_field_that_only_looks_unknown_is_still_checked(live: Server) -> None:
    """The last of duplicate names decides, also about validity."""
    body = f'{{"model": "{MODEL}", "input": "a", "top_k": -1, "top_k": 1}}'
    assert live.post(body).status in (200, 400)
    body = f'{{"model": "{MODEL}", "input": "a", "top_k": 1, "top_k": -1}}'
    live.post(body).error(400, "invalid_request")
