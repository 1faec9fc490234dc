"""The API tab of a model's page: what it tells is what the server takes, and its samples run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from embedrouter.catalog.builtin import PARAMETERS, builtin_model
from embedrouter.requests.schemas import EmbeddingsRequest, ModelParameters
from embedrouter.web.layout import TEMPLATES
from embedrouter.web.model_api import GENERIC, HEADERS, ModelApi, model_api
from embedrouter.web.model_samples import SAMPLES, Sample
from server import EMBEDDINGS, KEY, MODEL, Server, environment

CLIENTS = Path(__file__).parents[1] / "clients"


@pytest.fixture(scope="module")
def api(live: Server) -> ModelApi:
    return model_api(builtin_model("fp32"), live.root)


def test_the_table_has_every_field_of_a_request_once(api: ModelApi) -> None:
    names = [one.name for one in (*api.own, *api.generic)]
    assert sorted(names) == sorted(EmbeddingsRequest.__struct_fields__)
    assert [one.name for one in GENERIC] == list(PARAMETERS) == list(ModelParameters.__struct_fields__)
    required = {field.name for field in msgspec.structs.fields(EmbeddingsRequest) if field.required}
    assert {one.name for one in api.own if one.required} == required


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("temperature", 0, 2), ("top_p", 0, 1), ("frequency_penalty", -2, 2), ("presence_penalty", -2, 2),
     ("repetition_penalty", 0, 2), ("min_p", 0, 1), ("max_tokens", 1, None), ("top_k", 0, None),
     ("dimensions", 1, 384)],
)  # fmt: skip
def test_the_ranges_are_those_that_the_server_holds_to(
    api: ModelApi, live: Server, name: str, least: int, most: int | None
) -> None:
    shown = next(one.type for one in (*api.own, *api.generic) if one.name == name)
    assert shown.endswith(f"{least} or more" if most is None else f"{least} to {most}")

    def status(value: int) -> int:
        return live.request("POST", EMBEDDINGS, {"model": MODEL, "input": "x", name: value}, key=KEY).status

    assert status(least) == 200
    assert status(least - 1) == 400
    if most is not None:
        assert (status(most), status(most + 1)) == (200, 400)


def test_what_is_said_to_change_nothing_changes_nothing(live: Server) -> None:
    sent = {
        "max_tokens": 5, "temperature": 1.5, "top_p": 0.2, "stop": ["a"], "frequency_penalty": 1, "presence_penalty": 1,
        "repetition_penalty": 1, "top_k": 3, "seed": 7, "min_p": 0.5, "response_format": {"type": "json_object"},
    }  # fmt: skip
    assert set(sent) == {one.name for one in GENERIC}
    plain = live.request("POST", EMBEDDINGS, {"model": MODEL, "input": "x"}, key=KEY).json()
    with_all = live.request("POST", EMBEDDINGS, {"model": MODEL, "input": "x", **sent}, key=KEY).json()
    assert with_all["data"] == plain["data"]


def test_the_required_headers_are_required_and_metadata_comes_when_asked(live: Server) -> None:
    assert [one.name for one in HEADERS if one.required] == ["Authorization", "Content-Type"]
    body = {"model": MODEL, "input": "x"}
    live.request("POST", EMBEDDINGS, body).error(401, "authentication")
    answer = live.request("POST", EMBEDDINGS, body, {"X-OpenRouter-Metadata": "enabled"}, key=KEY)
    assert answer.json()["openrouter_metadata"]["endpoints"]["available"]


def test_the_part_is_complete_and_needs_no_scripts(api: ModelApi) -> None:
    html = TEMPLATES.get_template("model/_api.html").render(view=api)
    for sample in api.samples:
        assert f'<label for="sample-{sample.key}">{sample.title}</label>' in html
    assert html.count('type="radio"') == len(SAMPLES)
    assert html.count(" checked") == 1
    assert html.count(api.base) >= len(SAMPLES) + 2
    assert "style=" not in html
    assert "$EMBEDROUTER_API_KEY" in "".join(sample.code for sample in api.samples)


def test_an_address_and_a_name_that_are_markup_stay_text() -> None:
    model = msgspec.structs.replace(builtin_model("fp32"), slug='a/<b>"x')
    html = TEMPLATES.get_template("model/_api.html").render(view=model_api(model, "http://<i>"))
    assert "<b>" not in html
    assert "<i>" not in html


# --- the samples run


def _python(sample: Sample, base: str, _: Path) -> list[str]:
    return [sys.executable, "-c", sample.code(base, MODEL)]


def _shell(sample: Sample, base: str, _: Path) -> list[str]:
    assert shutil.which("curl"), "curl is missing"
    return ["/bin/sh", "-c", sample.code(base, MODEL).replace("curl ", "curl -sS --fail ", 1)]


def _node(sample: Sample, base: str, folder: Path) -> list[str]:
    """What is shown as TypeScript has no types in it, so that node runs it as it is."""
    node = shutil.which("node")
    if node is None:
        pytest.skip(reason="node is not here: install it to run the samples in TypeScript")
    package = sample.install.rpartition(" ")[2]
    if package:
        if not (CLIENTS / "node_modules" / package).is_dir():
            pytest.skip(reason=f"the npm package {package} is not here: run npm ci in tests/clients")
        (folder / "node_modules").symlink_to(CLIENTS / "node_modules")
    program = folder / "sample.mjs"
    program.write_text(sample.code(base, MODEL))
    return [node, str(program)]


_RUNNERS = {"python": _python, "sh": _shell, "ts": _node}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda one: one.key)
def test_each_sample_runs_and_gets_a_vector(live: Server, tmp_path: Path, sample: Sample) -> None:
    command = _RUNNERS[sample.language](sample, live.base, tmp_path)
    done = subprocess.run(
        command, env={**environment(api_key=KEY), "NODE_NO_WARNINGS": "1", "PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('{"object":"list"' if sample.language == "sh" else "384 "), done.stdout
