"""Settings, from four places: flags over environment over one TOML file over the defaults.

Every setting is a field of `Settings`: its TOML key is `like_this`, its variable `EMBEDROUTER_LIKE_THIS` (but for the
table `model_aliases`), its flag, where it has one, `--like-this`. An unknown name stops the start and names the nearest
known one: a typing error must never pass for a default.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from embedrouter.errors import SettingsError, nearest

ENV_PREFIX = "EMBEDROUTER_"
_OF_THE_BUILD = ("EMBEDROUTER_NATIVE", "EMBEDROUTER_SANITIZE")  # what CMakeLists.txt reads; no settings

# Shown nowhere, neither in a message nor by repr: logs and tracebacks are read by many.
_SECRET = ("api_key", "management_key", "database_url", "secrets_key")

Precision = Literal["auto", "float32", "bfloat16", "int8"]
EngineName = Literal["auto", "native", "openvino"]
NativePath = Literal["auto", "amx-bf16", "avx512-bf16", "avx512-fp32", "amx-int8", "vnni-int8"]
LogFormat = Literal["text", "json"]
Billing = Literal["track", "enforce"]
Durability = Literal["durable", "commit", "async"]


def _xdg(variable: str, fallback: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / fallback) / "embedrouter"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a server, validated. Sizes name their unit."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8000
    data_dir: Path = msgspec.field(default_factory=lambda: _xdg("XDG_DATA_HOME", ".local/share"))
    cache_dir: Path = msgspec.field(default_factory=lambda: _xdg("XDG_CACHE_HOME", ".cache"))
    builtin: bool = True  # serve the built-in model; without it the process only routes, and stays small
    model_dir: Path | None = None  # a folder that holds the weights; else the cache, the hub, the package
    offline: bool = False  # never reach for the network, not even for missing weights
    engine: EngineName = "auto"
    precision: Precision = "auto"
    native_path: NativePath = "auto"  # force an instruction path of the native engine, for tests and comparisons
    threads: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0  # 0: as many as the cgroup and the affinity allow
    api_key: str | None = None
    management_key: str | None = None
    secrets_key: str | None = None  # id:base64, ...: seals providers' credentials instead of a file in the data folder
    new_key: bool = False  # replace the kept key by a new one, and print it
    database_url: str | None = None  # sqlite:///file or postgresql://...; else a file in the data folder
    billing: Billing = "track"
    durability: Durability = "commit"
    store_prompts: bool = False
    response_cache_mib: Annotated[int, msgspec.Meta(ge=0, le=1_048_576)] = 64  # used by requests that ask for it
    vector_cache_mib: Annotated[int, msgspec.Meta(ge=0, le=1_048_576)] = 0  # 0: off
    keep_generations_days: Annotated[int, msgspec.Meta(ge=0)] = 0  # 0: for ever, as the others
    keep_prompts_days: Annotated[int, msgspec.Meta(ge=0)] = 90
    keep_usage_days: Annotated[int, msgspec.Meta(ge=0)] = 0
    keep_batches_days: Annotated[int, msgspec.Meta(ge=0)] = 30  # results, lines and files
    batch_discount_percent: Annotated[int, msgspec.Meta(ge=0, le=100)] = 50  # off the price of a batch's lines
    model_aliases: dict[str, str] = {}
    catalog: Path | None = None  # a TOML file of providers, models and endpoints; else catalog.toml in the data folder
    max_body_mib: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 32
    max_batch_mib: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1024  # the body of POST /batches
    max_file_mib: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 512  # a file for batches
    private_callbacks: bool = False  # batches may call back hosts that are private, and by http
    max_queued_tokens: Annotated[int, msgspec.Meta(ge=8192)] = 2_000_000
    max_wait_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 10.0  # a queue that takes longer refuses what comes
    body_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 30.0
    request_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 300.0
    attempt_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0  # of one call to one provider
    idle_timeout_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 25.0  # of a connection; also to send its headers
    drain_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 30.0  # how long SIGTERM waits for what was accepted
    public_url: str | None = None  # where people reach the pages, if a proxy is before them: https://embed.example.org
    trust_proxy: bool = False  # believe X-Forwarded-For (its last address) and X-Forwarded-Proto
    log_format: LogFormat = "text"
    access_log: bool = False

    @property
    def database(self) -> str:
        """The URL of the database."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'embedrouter.db'}"

    @property
    def address(self) -> str:
        """The URL that links begin with, without a slash at its end."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        values = msgspec.structs.asdict(self)
        return [(name, "***" if name in _SECRET and value else value) for name, value in values.items()]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


NAMES = tuple(field.name for field in msgspec.structs.fields(Settings))


def load(flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None = None) -> Settings:
    """Merge the four sources into validated `Settings`.

    flags: only what the user gave (None means "not given"). config: the TOML file; also `EMBEDROUTER_CONFIG`.
    Raises SettingsError naming the source, the setting and what would be right.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for name in given:
        if name not in NAMES:
            raise SettingsError(f'unknown setting "{name}"{nearest(name, NAMES)}')
    variables = _from_environment(environ)
    named = variables.pop("config", None)
    path = config or (Path(named) if named else None)
    path = path and path.expanduser()
    merged = _checked(_from_toml(path), f"in {path}", strict=True) if path else {}
    merged |= _checked(variables, "in the environment", strict=False)
    merged |= _checked(given, "on the command line", strict=False)
    _check_public_url(merged.get("public_url"))
    return Settings(**merged)


def _check_public_url(url: str | None) -> None:
    """Links, cookies and the check of where a form comes from depend on it."""
    if url is not None and not re.fullmatch(r"https?://[^/\s?#@\\]+/?", url):
        shown = re.sub(r".*@", "***@", url, flags=re.DOTALL)  # somebody may have put a password into it
        raise SettingsError(f'setting "public_url": expected https://host or http://host:port, no path (got {shown!r})')


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for variable, value in environ.items():
        if not variable.startswith(ENV_PREFIX) or variable in _OF_THE_BUILD or value == "":
            continue
        name = variable.removeprefix(ENV_PREFIX).lower()
        if name not in NAMES and name != "config":
            known = [ENV_PREFIX + n.upper() for n in (*NAMES, "config")]
            raise SettingsError(f"unknown variable {variable}{nearest(variable, known)}")
        found[name] = value
    return found


def _from_toml(path: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error
    for name in table:
        if name not in NAMES:
            raise SettingsError(f'unknown setting "{name}" in {path}{nearest(name, NAMES)}')
    return table


def _checked(values: Mapping[str, Any], source: str, *, strict: bool) -> dict[str, Any]:
    types = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    checked = {}
    for name, value in values.items():
        try:
            text = str(value) if isinstance(value, Path) else value
            checked[name] = msgspec.convert(text, types[name], strict=strict, dec_hook=_decode_path)
        except msgspec.ValidationError as error:
            got = "" if name in _SECRET else f" (got {value!r})"
            raise SettingsError(f'setting "{name}" {source}: {error}{got}') from error
    return checked


def _decode_path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    raise ValueError("expected a path")
