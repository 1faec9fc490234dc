"""embedrouter users: who may sign in. It works on the database, also beside a running server, which sees it at once."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from embedrouter.accounts import invites, users
from embedrouter.accounts.invites import NewInvite
from embedrouter.accounts.passwords import Passwords, acceptable
from embedrouter.accounts.sessions import digest_of, new_token
from embedrouter.accounts.users import NewUser, PasswordChange, Role, User, UserChange, normal_email, normal_name
from embedrouter.errors import EmbedRouterError, NotFoundError
from embedrouter.ledger.book import now
from embedrouter.periods import iso
from embedrouter.settings import Settings, load
from embedrouter.store import Database, Writer
from embedrouter.store.migrate import migrate

app = typer.Typer(help="Users: who may sign in.", no_args_is_help=True)

Who = Annotated[str, typer.Argument(help="An email, or a user's id.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]
RoleOption = Annotated[Role, typer.Option(help="What the user may do.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.", show_default=False)]
DataDirOption = Annotated[Path | None, typer.Option(help="Where state is kept.", show_default=False)]


class _Desk(NamedTuple):
    settings: Settings
    database: Database
    writer: Writer

    def find(self, who: str) -> User:
        """By email or id. Raises NotFoundError."""
        if "@" not in who:
            return self.database.read_now(lambda connection: users.find(connection, who))
        email = normal_email(who)
        found = self.database.read_now(lambda connection: users.find_by_email(connection, email))
        if found is None:
            raise NotFoundError("no user has this email")
        return found.user


@app.command("list")
def list_(json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """List the users, the oldest first."""
    with _desk(config, data_dir) as desk:
        found = desk.database.read_now(users.list_users)
    if json:
        _print_json([_plain(user) for user in found])
    for user in () if json else found:
        typer.echo(_line(user))


@app.command()
def create(
    email: Annotated[str, typer.Argument(help="With which the user signs in.", show_default=False)],
    name: Annotated[str, typer.Option(help="A person's name.", show_default=False)] = "",
    role: RoleOption = "member",
    password_stdin: StdinOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a user with a password; `users link` lets people choose their own."""
    with _desk(config, data_dir) as desk:
        address, named = normal_email(email), normal_name(name)
        hash_ = Passwords().hashed(acceptable(_password(password_stdin), address))
        user = desk.writer.submit(users.create, NewUser(address, named, hash_, role, now())).result()
    _tell(user, json)


@app.command()
def disable(who: Who, json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Sign a user out everywhere and let him in no more."""
    _change(who, lambda id_: UserChange(id_, now(), disabled=True), json, config, data_dir)


@app.command()
def enable(who: Who, json: JsonOption = False, config: ConfigOption = None, data_dir: DataDirOption = None) -> None:
    """Let a disabled user in again."""
    _change(who, lambda id_: UserChange(id_, now(), disabled=False), json, config, data_dir)


@app.command()
def role(
    who: Who,
    new: Annotated[Role, typer.Argument(help="What the user may do.", show_default=False)],
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a user administrator or member."""
    _change(who, lambda id_: UserChange(id_, now(), role=new), json, config, data_dir)


@app.command()
def delete(
    who: Who,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Delete a user. His keys stay, without an owner."""
    with _desk(config, data_dir) as desk:
        user = desk.find(who)
        if not yes:
            typer.confirm(f"Delete {user.email} for good?", abort=True, err=True)
        user = desk.writer.submit(users.remove, user.id).result()
    _tell(user, json)


@app.command()
def password(
    who: Who,
    password_stdin: StdinOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Give a user a new password, and sign him out everywhere."""
    with _desk(config, data_dir) as desk:
        user = desk.find(who)
        hash_ = Passwords().hashed(acceptable(_password(password_stdin), user.email))
        user = desk.writer.submit(users.change_password, PasswordChange(user.id, hash_, now())).result()
    _tell(user, json)


@app.command()
def link(
    role: RoleOption = "member",
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Print a link by which one person becomes a user, within 24 hours."""
    with _desk(config, data_dir) as desk:
        token = new_token()
        made = desk.writer.submit(invites.make, NewInvite(digest_of(token), "invite", role, now())).result()
        url = f"{desk.settings.address}/setup?token={token}"
    assert made is not None
    if json:
        _print_json({"url": url, "role": made.role, "expires_at": iso(made.expires_at)})
    else:
        typer.echo(url)


def _change(
    who: str, change: Callable[[str], UserChange], json: bool, config: Path | None, data_dir: Path | None
) -> None:
    with _desk(config, data_dir) as desk:
        user = desk.writer.submit(users.change, change(desk.find(who).id)).result()
    _tell(user, json)


def _password(from_stdin: bool) -> str:
    """Never an argument: those are seen by everybody on the machine, and kept in the shell's history."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    chosen: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return chosen


def _tell(user: User, json: bool) -> None:
    if json:
        _print_json(_plain(user))
    else:
        typer.echo(_line(user))


def _line(user: User) -> str:
    return "  ".join(filter(None, (user.id, user.role, "disabled" if user.disabled else "", user.email, user.name)))


def _plain(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "created_at": iso(user.created_at),
        "last_login_at": None if user.last_login_at is None else iso(user.last_login_at),
    }


def _print_json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


@contextmanager
def _desk(config: Path | None, data_dir: Path | None) -> Iterator[_Desk]:
    """The opened database; our own errors end the command with one clear line and status 2."""
    try:
        settings = load({"data_dir": data_dir}, os.environ, config)
        database = Database(settings.database, durability=settings.durability)
        migrate(database)
        writer = Writer(database)
        try:
            yield _Desk(settings, database, writer)
        finally:
            writer.close()
            database.close()
    except EmbedRouterError as error:
        print(f"embedrouter: {error.message}", file=sys.stderr, flush=True)
        raise typer.Exit(2) from error
