from pathlib import Path
from pprint import pformat
from typing import Any

import pytest
from rich.pretty import pretty_repr

from embedrouter.errors import SettingsError
from embedrouter.settings import Settings, load


def toml(folder: Path, text: str) -> Path:
    path = folder / "embedrouter.toml"
    path.write_text(text, encoding="utf-8")
    return path


# --- precedence


def test_without_sources_the_defaults_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    found = load({}, {})
    assert (found.host, found.port) == ("127.0.0.1", 8000)
    assert found.data_dir == tmp_path / ".local/share/embedrouter"
    assert found.cache_dir == tmp_path / ".cache/embedrouter"
    assert found.api_key is None
    assert found == Settings()


def test_the_xdg_folders_are_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere/data")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    found = load({}, {})
    assert (found.data_dir, found.cache_dir) == (
        Path("/somewhere/data/embedrouter"),
        Path("/somewhere/cache/embedrouter"),
    )


@pytest.mark.parametrize("flag", [None, 1])
@pytest.mark.parametrize("variable", [None, 2])
@pytest.mark.parametrize("line", [None, 3])
def test_flags_go_over_environment_over_file_over_defaults(
    tmp_path: Path, flag: int | None, variable: int | None, line: int | None
) -> None:
    environ = {} if variable is None else {"EMBEDROUTER_PORT": str(variable)}
    config = None if line is None else toml(tmp_path, f"port = {line}\nthreads = 9\n")
    found = load({"port": flag}, environ, config)
    assert found.port == next((value for value in (flag, variable, line) if value is not None), 8000)
    assert found.threads == (0 if line is None else 9)


def test_a_flag_that_was_not_given_hides_nothing() -> None:
    assert load({"port": None, "offline": None}, {"EMBEDROUTER_PORT": "1"}).port == 1


def test_a_flag_of_false_or_zero_was_given() -> None:
    environ = {"EMBEDROUTER_OFFLINE": "true", "EMBEDROUTER_THREADS": "4"}
    found = load({"offline": False, "threads": 0}, environ)
    assert (found.offline, found.threads) == (False, 0)


def test_the_environment_can_name_the_file_and_a_flag_goes_first(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    named, flagged = toml(tmp_path / "a", "port = 1\n"), toml(tmp_path / "b", "port = 2\n")
    environ = {"EMBEDROUTER_CONFIG": str(named)}
    assert load({}, environ).port == 1
    assert load({}, environ, flagged).port == 2


def test_other_programs_variables_and_empty_ones_do_not_count() -> None:
    environ = {"EMBEDROUTER_PORT": "", "PORT": "1", "EMBED_ROUTER_PORT": "2", "embedrouter_port": "3", "PATH": "/bin"}
    assert load({}, environ) == Settings()


# --- unknown names


def test_an_unknown_variable_stops_the_start_and_names_the_nearest() -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, {"EMBEDROUTER_PROT": "1"})
    assert "EMBEDROUTER_PROT" in caught.value.message
    assert 'did you mean "EMBEDROUTER_PORT"?' in caught.value.message


def test_variables_of_the_build_are_no_settings_and_no_mistakes() -> None:
    assert load({}, {"EMBEDROUTER_NATIVE": "0", "EMBEDROUTER_SANITIZE": "ON"}) == Settings()


def test_an_unknown_line_stops_the_start_and_names_the_nearest(tmp_path: Path) -> None:
    config = toml(tmp_path, "max_quequed_tokens = 9000\n")
    with pytest.raises(SettingsError) as caught:
        load({}, {}, config)
    assert "max_quequed_tokens" in caught.value.message
    assert str(config) in caught.value.message
    assert 'did you mean "max_queued_tokens"?' in caught.value.message


def test_a_table_of_the_file_is_a_name_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="server"):
        load({}, {}, toml(tmp_path, "[server]\nport = 1\n"))


def test_flags_have_their_own_spelling_in_the_file_too(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match='did you mean "data_dir"'):
        load({}, {}, toml(tmp_path, 'data-dir = "x"\n'))


def test_an_unknown_flag_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match='did you mean "port"'):
        load({"prot": 1}, {})


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, {"EMBEDROUTER_XYZZYQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ": "1"})
    assert "did you mean" not in caught.value.message


@pytest.mark.parametrize("name", ["api_key", "management_key", "database_url", "secrets_key"])
def test_settings_do_not_show_their_secrets(name: str, tmp_path: Path) -> None:
    """Attack 47: not by repr, which logs and tracebacks use, and not when the value is of the wrong type."""
    config = tmp_path / "config.toml"
    config.write_text(f'{name} = "sk-secret"\nport = 4711\n')
    found = load({}, {}, config)
    for shown in (repr(found), str(found), f"{found}", pretty_repr(found), pformat(found)):
        assert "sk-secret" not in shown
        assert "4711" in shown
        assert name in shown
    assert getattr(found, name) == "sk-secret"
    for value in ('["sk-secret"]', '{ url = "sk-secret" }'):
        config.write_text(f"{name} = {value}\n")
        with pytest.raises(SettingsError, match=f'"{name}" in .*Expected `str') as caught:
            load({}, {}, config)
        assert "sk-secret" not in str(caught.value)


# --- values


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "-1"),
        ("port", "65536"),
        ("port", "http"),
        ("port", "80.5"),
        ("threads", "-1"),
        ("threads", "1025"),
        ("max_body_mib", "0"),
        ("max_body_mib", "1025"),
        ("max_queued_tokens", "8191"),
        ("body_timeout_s", "0"),
        ("body_timeout_s", "nan"),
        ("request_timeout_s", "-1"),
        ("drain_s", "-0.1"),
        ("precision", "float16"),
        ("engine", "torch"),
        ("log_format", "xml"),
        ("offline", "perhaps"),
        ("access_log", "2"),
    ],
)
def test_a_wrong_value_is_refused_by_name_source_and_value(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, {f"EMBEDROUTER_{name.upper()}": value})
    for part in (f'"{name}"', "in the environment", repr(value)):
        assert part in caught.value.message
    with pytest.raises(SettingsError, match="on the command line"):
        load({name: value}, {})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("threads", "1024", 1024),
        ("max_queued_tokens", "8192", 8192),
        ("body_timeout_s", "0.5", 0.5),
        ("drain_s", "0", 0.0),
        ("offline", "true", True),
        ("offline", "0", False),
        ("access_log", "1", True),
        ("precision", "bfloat16", "bfloat16"),
        ("api_key", "12345", "12345"),
        ("api_key", "null", "null"),
        ("host", "::", "::"),
    ],
)
def test_text_of_the_environment_becomes_the_settings_type(name: str, value: str, expected: object) -> None:
    found = getattr(load({}, {f"EMBEDROUTER_{name.upper()}": value}), name)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    "line",
    ['port = "8000"', "port = 1.5", "port = true", "offline = 1", 'offline = "true"', "host = 1"],
)
def test_the_file_has_types_and_keeps_to_them(tmp_path: Path, line: str) -> None:
    config = toml(tmp_path, line + "\n")
    with pytest.raises(SettingsError, match=line.split(" ", maxsplit=1)[0]) as caught:
        load({}, {}, config)
    assert str(config) in caught.value.message


def test_a_path_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="data_dir"):
        load({}, {}, toml(tmp_path, "data_dir = 1\n"))


def test_the_file_takes_every_kind_of_value(tmp_path: Path) -> None:
    config = toml(
        tmp_path,
        'host = "::1"\nport = 9000\noffline = true\ndrain_s = 5\nmodel_dir = "/models"\n'
        '[model_aliases]\n"openai/text-embedding-3-small" = "sentence-transformers/all-minilm-l6-v2"\n',
    )
    found = load({}, {}, config)
    assert (found.host, found.port, found.offline, found.drain_s) == ("::1", 9000, True, 5.0)
    assert found.model_dir == Path("/models")
    assert found.model_aliases == {"openai/text-embedding-3-small": "sentence-transformers/all-minilm-l6-v2"}


@pytest.mark.parametrize("source", ["flag", "flag as a path", "environment", "file"])
@pytest.mark.parametrize("name", ["data_dir", "cache_dir", "model_dir"])
def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, name: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    given: dict[str, tuple[dict[str, Any], dict[str, str], Path | None]] = {
        "flag": ({name: "~/here"}, {}, None),
        "flag as a path": ({name: Path("~/here")}, {}, None),
        "environment": ({}, {f"EMBEDROUTER_{name.upper()}": "~/here"}, None),
        "file": ({}, {}, toml(tmp_path, f'{name} = "~/here"\n')),
    }
    assert getattr(load(*given[source]), name) == tmp_path / "here"


def test_a_tilde_in_the_name_of_the_file_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    toml(tmp_path, "port = 1\n")
    assert load({}, {"EMBEDROUTER_CONFIG": "~/embedrouter.toml"}).port == 1


# --- the file itself


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file") as caught:
        load({}, {}, tmp_path / "none.toml")
    assert str(tmp_path / "none.toml") in caught.value.message


@pytest.mark.parametrize("content", [b"port = = 1\n", b"\xff\xfe", b"port = 1\nport = 2\n"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="not valid TOML") as caught:
        load({}, {}, path)
    assert str(path) in caught.value.message


def test_a_settings_error_shows_no_key_of_another_setting() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"api_key": "sk-secret"}, {"EMBEDROUTER_API_KEY": "sk-secret", "EMBEDROUTER_PORT": "x"})
    assert "sk-secret" not in str(caught.value)
