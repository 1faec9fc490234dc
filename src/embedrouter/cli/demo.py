"""embedrouter demo: an empty database is filled with made-up traffic."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from embedrouter.cli.common import ConfigOption, DatabaseUrlOption, DataDirOption, JsonOption, note, say, show, told
from embedrouter.cli.store import writing


class SignIn(msgspec.Struct, frozen=True):
    """Somebody who may sign in. The password is never shown again."""

    email: str
    role: str
    password: str


class DemoKey(msgspec.Struct, frozen=True):
    """An API key, shown this once."""

    name: str
    key: str
    management: bool
    usable: bool


class Filled(msgspec.Struct, frozen=True):
    """What there is now."""

    database: str
    days: int
    requests: int
    users: list[SignIn]
    keys: list[DemoKey]
    start: str  # the command that serves it


def demo(
    days: Annotated[int, typer.Option(help="How many days, up to now.", min=1, max=365)] = 30,
    requests: Annotated[int, typer.Option(help="How many requests in all.", min=1, max=20_000_000)] = 20_000,
    seed: Annotated[int, typer.Option(help="Another number makes other traffic.", min=0)] = 1,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fill an empty database with made-up traffic, to look at the website with. It is marked as demo."""
    with told():
        from embedrouter.demo.fill import Wanted, fill
        from embedrouter.demo.scene import KEYS
        from embedrouter.demo.weather import Span
        from embedrouter.ledger.book import now

        wanted = Wanted(Span(now(), days), requests, seed)
        with writing(config, data_dir, database_url, make=True) as desk:
            database, settings = desk.opened.database, desk.opened.settings
            there = fill(desk, desk.writer, database, settings, wanted)
        gone = {key.name for key in KEYS if key.fate is not None}
        shown = Filled(
            database.name,
            days,
            requests,
            [SignIn(*one) for one in there.logins],
            [DemoKey(one.key.name, one.secret, one.key.management, one.key.name not in gone) for one in there.keys],
            _command(config, data_dir, database_url),
        )
        show(shown, as_json, lambda: _print(shown))


def _command(config: Path | None, data_dir: Path | None, database_url: str | None) -> str:
    """With the same options; a URL may have a password, so it is not repeated."""
    given = "".join(f" --{name} {path}" for name, path in (("config", config), ("data-dir", data_dir)) if path)
    return f"embedrouter serve{given}{'' if database_url is None else ' --database-url ...'}"


def _print(shown: Filled) -> None:
    say(f"{shown.database} holds {shown.requests:,} requests of {shown.days} days, all made up.\n")
    say("Sign in with (each password is shown this once):")
    for user in shown.users:
        say(f"  {user.email:<24}{user.password:<20}{user.role}")
    say("\nKeys (each is shown this once):")
    for key in shown.keys:
        kind = "management" if key.management else "" if key.usable else "no longer good"
        say(f"  {key.name:<20}{key.key}  {kind}".rstrip())
    note("Its remote providers are at addresses that do not exist: only the built-in model answers requests.")
    say(f"\nLook at it:\n  {shown.start}")
