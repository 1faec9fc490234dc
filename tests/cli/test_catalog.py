import os
from pathlib import Path

import pytest

from cli.commands import Commands
from embedrouter.store import Database, Writer
from embedrouter.store.entries import Change, Edit, edit

_OLLAMA = """
[[providers]]
slug = "ollama"
name = "Ollama"
wire = "ollama"
base_url = "http://127.0.0.1:11434"
allow_private = true
needs_credential = false

[[models]]
slug = "nomic/local"
created = 2024-02-01
context_length = 2048
dimensions = 768
aliases = ["local"]

[[endpoints]]
model = "nomic/local"
provider = "ollama"
upstream_model = "nomic-embed-text \\"v1\\""
limits = { items = 16 }
"""


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.endswith(("_API_KEY", "_API_TOKEN")) or name.startswith("AWS_BEARER_"):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "entries.toml"
    path.write_text(_OLLAMA)
    return path


def test_a_file_is_stated_whole_and_exported_as_it_was(here: Commands, file: Path, tmp_path: Path) -> None:
    done = here.json("catalog", "set", str(file))
    assert done["changed"] == ["provider ollama", "model nomic/local", "endpoint nomic/local ollama"]
    listed = {(one["kind"], one["key"]): one for one in here.json("catalog", "list")}
    assert listed["provider", "ollama"]["replaces"] == ["shipped"]
    assert listed["endpoint", "nomic/local ollama"]["served"] is True
    assert listed["endpoint", "cohere/embed-v4.0 cohere"]["served"] is False
    exported = here("catalog", "export").stdout
    again = tmp_path / "again.toml"
    again.write_text(exported)
    assert here.json("catalog", "set", str(again))["revision"] == done["revision"] + 1
    assert here("catalog", "export").stdout == exported
    assert 'upstream_model = "nomic-embed-text \\"v1\\""' in exported


def test_everything_is_exported_on_request(here: Commands, file: Path, tmp_path: Path) -> None:
    assert here("catalog", "set", str(file)).status == 0
    everything = tmp_path / "everything.toml"
    everything.write_text(here("catalog", "export", "--all").stdout)
    assert everything.read_text().count("[[endpoints]]") == len(here.json("catalog", "list", "--kind", "endpoint"))
    problems = here.json("catalog", "check", str(everything))["problems"]
    assert problems == [], "but for variables of credentials, which only files may name, it could all be stated anew"


def test_an_entry_is_shown_as_toml_with_its_source(here: Commands) -> None:
    shown = here("catalog", "show", "endpoint", "openai/text-embedding-3-small openai").stdout
    assert shown.startswith("# source: shipped\n# served: no, its provider is not ready")
    assert '[[endpoints]]\nmodel = "openai/text-embedding-3-small"\n' in shown
    assert "the catalog has no provider" in here("catalog", "show", "provider", "nope").refusal()


def test_removing_takes_back_and_hiding_hides(here: Commands, file: Path) -> None:
    assert here("catalog", "set", str(file)).status == 0
    assert 'there is no model "nomic/local"' in here("catalog", "remove", "model", "nomic/local").refusal()
    assert here("catalog", "remove", "endpoint", "nomic/local ollama").status == 0
    assert here("catalog", "remove", "model", "nomic/local").status == 0
    assert here("catalog", "remove", "provider", "ollama").status == 0
    assert "states no provider" in here("catalog", "remove", "provider", "ollama").refusal()
    assert here("catalog", "remove", "provider", "ollama", "--hide").status == 0
    assert here.json("catalog", "show", "provider", "ollama")["entry"] == {"removed": True}


def test_one_wrong_entry_keeps_the_whole_file_out(here: Commands, file: Path) -> None:
    file.write_text(_OLLAMA.replace("dimensions = 768", "dimensions = 0"))
    refused = here("catalog", "set", str(file)).refusal()
    assert 'model "nomic/local" in ' in refused
    assert "dimensions: expected int >= 1" in refused
    assert here.json("catalog", "show", "provider", "ollama")["source"] == "shipped"
    file.write_text("")
    assert "states nothing" in here("catalog", "set", str(file)).refusal()
    file.write_text("[[")
    assert "is not valid TOML" in here("catalog", "set", str(file)).refusal()


def test_checking_changes_nothing_and_its_status_tells(here: Commands, file: Path) -> None:
    assert here("catalog", "check").stdout == "good: 1 models would be served\n"
    assert here.json("catalog", "check", str(file))["models"] == [
        "sentence-transformers/all-minilm-l6-v2",
        "nomic/local",
    ]
    file.write_text(_OLLAMA.replace('wire = "ollama"', 'wire = "olama"'))
    bad = here("catalog", "check", str(file))
    assert bad.status == 1
    assert 'did you mean "ollama"' in bad.stdout
    assert here.json("catalog", "show", "provider", "ollama")["source"] == "shipped"


def test_the_operators_file_is_named_by_the_setting(
    here: Commands, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDROUTER_CATALOG", str(file))
    assert here.json("catalog", "show", "model", "nomic/local")["source"] == "file"
    monkeypatch.setenv("EMBEDROUTER_CATALOG", str(file.with_name("none.toml")))
    assert "cannot read the catalog" in here("catalog", "list").refusal()


def test_a_database_that_does_not_hold_together_is_mended_step_by_step(here: Commands, file: Path) -> None:
    """As after an upgrade that ships less."""
    database = Database(here.url)
    writer = Writer(database)
    broken = tuple(
        Change("endpoint", f"gone/model {tag}", f'{{"model":"gone/model","provider":"{tag}","upstream_model":"x"}}')
        for tag in ("openai", "cohere")
    )
    writer.submit(edit, Edit(broken, 1, "a test", lambda _before, _after: None)).result()
    writer.close()
    database.close()
    assert here("catalog", "check").status == 1
    assert "does not hold together" in here("catalog", "list").stderr
    assert here("catalog", "set", str(file)).status == 0
    assert here("catalog", "remove", "endpoint", "gone/model openai").status == 0
    assert here("catalog", "check").status == 1
    assert here("catalog", "remove", "endpoint", "gone/model cohere").status == 0
    assert here.json("catalog", "check")["valid"] is True
    assert here.json("catalog", "show", "model", "nomic/local")["source"] == "database"
