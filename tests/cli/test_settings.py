from pathlib import Path
from typing import Any

import pytest

from embedrouter.errors import SettingsError
from embedrouter.settings import NAMES, Settings, load


def _toml(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_flags_go_before_environment_before_file_before_defaults(tmp_path: Path) -> None:
    config = _toml(tmp_path, 'host = "file"\nport = 1\nthreads = 3\n')
    environ = {"EMBEDROUTER_HOST": "environment", "EMBEDROUTER_PORT": "2"}
    found = load({"host": "flag", "port": None}, environ, config)
    assert (found.host, found.port, found.threads) == ("flag", 2, 3)
    assert found.drain_s == Settings().drain_s


def test_the_file_can_be_named_by_the_environment(tmp_path: Path) -> None:
    config = _toml(tmp_path, "port = 1234")
    assert load({}, {"EMBEDROUTER_CONFIG": str(config)}).port == 1234


def test_other_variables_and_empty_ones_are_passed_over() -> None:
    assert load({}, {"HOME": "/x", "EMBEDROUTERX": "1", "EMBEDROUTER_PORT": ""}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", "8080", 8080),
        ("offline", "true", True),
        ("offline", "0", False),
        ("drain_s", "1.5", 1.5),
        ("precision", "float32", "float32"),
        ("max_body_mib", "64", 64),
        ("data_dir", "~/x", Path("~/x").expanduser()),
        ("model_dir", "/models", Path("/models")),
        ("api_key", "12345678901234567890", "12345678901234567890"),
        ("log_format", "json", "json"),
    ],
)
def test_variables_are_read_as_their_type(name: str, text: str, value: object) -> None:
    assert getattr(load({}, {f"EMBEDROUTER_{name.upper()}": text}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "http"), ("port", "65536"), ("port", "-1"), ("port", "1.5"), ("offline", "maybe"), ("drain_s", "-1"),
        ("body_timeout_s", "0"), ("threads", "-1"), ("precision", "int3"), ("engine", "cuda"), ("max_body_mib", "0"),
        ("max_body_mib", "1025"), ("max_queued_tokens", "100"), ("log_format", "xml"), ("request_timeout_s", "soon"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_name_source_and_value(name: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, {f"EMBEDROUTER_{name.upper()}": text})
    for word in (name, "environment", text):
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("EMBEDROUTER_PROT", "EMBEDROUTER_PORT"),
        ("EMBEDROUTER_APIKEY", "EMBEDROUTER_API_KEY"),
        ("EMBEDROUTER_CONF", "EMBEDROUTER_CONFIG"),
    ],
)
def test_an_unknown_variable_stops_the_start_and_names_the_nearest(variable: str, meant: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, {variable: "x"})
    assert variable in caught.value.message
    assert f'"{meant}"' in caught.value.message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot = 1", ["prot", 'did you mean "port"']),
        ("[server]\nport = 1", ["server"]),
        ("port = '80'", ["port", "config.toml"]),
        ("port = 99999", ["port", "config.toml"]),
        ("offline = 1", ["offline", "config.toml"]),
        ("model_aliases = ['x']", ["model_aliases", "config.toml"]),
        ("model_aliases = {a = 1}", ["model_aliases", "config.toml"]),
        ("port 80", ["not valid TOML", "config.toml"]),
        ("port = 1\nport = 2", ["not valid TOML", "config.toml"]),
    ],
)
def test_a_wrong_file_is_refused_with_the_line_that_is_wrong(tmp_path: Path, text: str, told: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, {}, _toml(tmp_path, text))
    for word in told:
        assert word in caught.value.message


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        load({}, {}, tmp_path / name)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe\0")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load({}, {}, path)


def test_aliases_are_a_table_of_the_file(tmp_path: Path) -> None:
    config = _toml(tmp_path, '[model_aliases]\n"openai/text-embedding-3-small" = "x"\n')
    assert load({}, {}, config).model_aliases == {"openai/text-embedding-3-small": "x"}


def test_every_default_is_closed() -> None:
    found = load({}, {})
    assert found.host == "127.0.0.1"
    assert found.api_key is None
    assert found.access_log is False


def test_the_key_is_in_no_message() -> None:
    secret: Any = "s" * 40
    with pytest.raises(SettingsError) as caught:
        load({"port": -1}, {"EMBEDROUTER_API_KEY": secret})
    assert secret not in caught.value.message
    assert "api_key" in NAMES
