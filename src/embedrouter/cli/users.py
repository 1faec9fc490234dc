"""embedrouter users: who may sign in. A running server sees changes at once."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from embedrouter.cli.common import ConfigOption, DatabaseUrlOption, DataDirOption, JsonOption, say, show, told
from embedrouter.cli.store import Opened, reading, writing
from embedrouter.errors import NotFoundError
from embedrouter.periods import iso

if TYPE_CHECKING:
    from embedrouter.accounts.users import User

app = typer.Typer(help="Users: who may sign in.", no_args_is_help=True)

Role = Literal["admin", "member"]
Who = Annotated[str, typer.Argument(help="An email, or a user's id.", show_default=False)]
StdinOption = Annotated[
    bool,
    typer.Option(
        "--password-stdin", help="Read the password from the first line of standard input.", show_default=False
    ),
]
RoleOption = Annotated[Role, typer.Option(help="What the user may do.")]


@app.command("list")
def list_(
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
) -> None:
    """List the users, the oldest first."""
    with told():
        from embedrouter.accounts import users

        with reading(config, data_dir, database_url) as opened:
            found = opened.read(users.list_users)
        show([_plain(user) for user in found], json, lambda: say("\n".join(map(_line, found)) or "no users yet"))


@app.command()
def create(
    email: Annotated[str, typer.Argument(help="With which the user signs in.", show_default=False)],
    name: Annotated[str, typer.Option(help="A person's name.", show_default=False)] = "",
    role: RoleOption = "member",
    password_stdin: StdinOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Make a user with a password; `users link` lets people choose their own."""
    with told():
        from embedrouter.accounts import users
        from embedrouter.accounts.passwords import Passwords, acceptable
        from embedrouter.ledger.book import now

        address, named = users.normal_email(email), users.normal_name(name)
        hash_ = Passwords().hashed(acceptable(_password(password_stdin), address))
        with writing(config, data_dir, database_url, make=True) as desk:
            user = desk.write(users.create, users.NewUser(address, named, hash_, role, now()))
        _tell(user, json)


@app.command()
def disable(
    who: Who,
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Sign a user out everywhere and let him in no more."""
    _change(who, {"disabled": True}, json, config, data_dir, database_url)


@app.command()
def enable(
    who: Who,
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Let a disabled user in again."""
    _change(who, {"disabled": False}, json, config, data_dir, database_url)


@app.command()
def role(
    who: Who,
    new: Annotated[Role, typer.Argument(help="What the user may do.", show_default=False)],
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Make a user administrator or member."""
    _change(who, {"role": new}, json, config, data_dir, database_url)


@app.command()
def delete(
    who: Who,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Delete a user. His keys stay, without an owner."""
    with told():
        from embedrouter.accounts import users

        with writing(config, data_dir, database_url) as desk:
            user = _find(desk.opened, who)
            if not yes:
                typer.confirm(f"Delete {user.email} for good?", abort=True, err=True)
            user = desk.write(users.remove, user.id)
        _tell(user, json)


@app.command()
def password(
    who: Who,
    password_stdin: StdinOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Give a user a new password, and sign him out everywhere."""
    with told():
        from embedrouter.accounts import users
        from embedrouter.accounts.passwords import Passwords, acceptable
        from embedrouter.ledger.book import now

        with writing(config, data_dir, database_url) as desk:
            user = _find(desk.opened, who)
            hash_ = Passwords().hashed(acceptable(_password(password_stdin), user.email))
            user = desk.write(users.change_password, users.PasswordChange(user.id, hash_, now()))
        _tell(user, json)


@app.command()
def link(
    role: RoleOption = "member",
    json: JsonOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Print a link by which one person becomes a user, within 24 hours."""
    with told():
        from embedrouter.accounts import invites
        from embedrouter.accounts.sessions import digest_of, new_token
        from embedrouter.ledger.book import now

        token = new_token()
        with writing(config, data_dir, database_url, make=True) as desk:
            made = desk.write(invites.make, invites.NewInvite(digest_of(token), "invite", role, now()))
            url = f"{desk.opened.settings.address}/setup?token={token}"
        assert made is not None
        show({"url": url, "role": made.role, "expires_at": iso(made.expires_at)}, json, lambda: say(url))


def _change(
    who: str,
    values: dict[str, Any],
    json: bool,
    config: Path | None,
    data_dir: Path | None,
    database_url: str | None,
) -> None:
    with told():
        from embedrouter.accounts import users
        from embedrouter.ledger.book import now

        with writing(config, data_dir, database_url) as desk:
            user = desk.write(users.change, users.UserChange(_find(desk.opened, who).id, now(), **values))
        _tell(user, json)


def _find(opened: Opened, who: str) -> "User":
    """By email or id. Raises NotFoundError."""
    from embedrouter.accounts import users

    if "@" not in who:
        found: User = opened.read(users.find, who)
        return found
    named = opened.read(users.find_by_email, users.normal_email(who))
    if named is None:
        raise NotFoundError("no user has this email")
    by_email: User = named.user
    return by_email


def _password(from_stdin: bool) -> str:
    """Never an argument: those are seen by everybody on the machine, and kept in the shell's history."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    chosen: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return chosen


def _tell(user: "User", json: bool) -> None:
    show(_plain(user), json, lambda: say(_line(user)))


def _line(user: "User") -> str:
    return "  ".join(filter(None, (user.id, user.role, "disabled" if user.disabled else "", user.email, user.name)))


def _plain(user: "User") -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "created_at": iso(user.created_at),
        "last_login_at": None if user.last_login_at is None else iso(user.last_login_at),
    }
