"""/api/internal: who is signed in, sessions, passwords, users and invitations, as JSON for our own pages.

No part of OpenRouter's API: a session opens it, and no key does.
"""

from typing import Any, TypeVar

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post
from litestar.di import Provide

from embedrouter.accounts.sessions import Session, SignedIn
from embedrouter.accounts.users import Role, User, UserChange, normal_name
from embedrouter.api import batch_download, playground
from embedrouter.entrance import ADMIN, PUBLIC, SESSION, Entrance, guard, read_body, signed_in
from embedrouter.errors import InvalidRequestError
from embedrouter.fields import decode
from embedrouter.ledger.book import now
from embedrouter.periods import iso

T = TypeVar("T")
AnyRequest = Request[Any, Any, Any]


class _Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    email: str
    password: str


class _NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    current_password: str
    new_password: str


class _Setup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str
    email: str
    password: str
    name: str = ""


class _Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Role | None = None
    disabled: bool | None = None
    name: str | None = None


class _Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Role = "member"


@post("/session", opt=PUBLIC)
async def log_in(request: AnyRequest, entrance: Entrance) -> Response[dict[str, Any]]:
    """Sign in. A session that the browser had before ends."""
    body = await _read(request, _Login)
    opened = await entrance.reception.sign_in(body.email, body.password, entrance.origin(request))
    if (before := await entrance.signed_in(request)) is not None:
        await entrance.reception.end_session(before.user, before.session.id)
    cookies = [entrance.cookie(request, opened.token)]
    return Response(_signed_in_json(opened.signed_in), status_code=200, cookies=cookies)


@get("/session", opt=SESSION)
async def who_am_i(signed_in: SignedIn) -> dict[str, Any]:
    """Who is signed in."""
    return _signed_in_json(signed_in)


@delete("/session", status_code=204, opt=SESSION)
async def log_out(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> Response[None]:
    """Sign out."""
    await entrance.reception.sign_out(signed_in)
    return Response(None, status_code=204, cookies=[entrance.cookie(request, "")])


@get("/sessions", opt=SESSION)
async def list_sessions(entrance: Entrance, signed_in: SignedIn) -> dict[str, Any]:
    """My sessions, the last used first."""
    found = await entrance.reception.sessions_of(signed_in.user)
    return {"data": [{**_session_json(one), "current": one.id == signed_in.session.id} for one in found]}


@delete("/sessions", status_code=200, opt=SESSION)
async def end_other_sessions(entrance: Entrance, signed_in: SignedIn) -> dict[str, Any]:
    """End all my sessions but this one."""
    return {"ended": await entrance.reception.end_others(signed_in)}


@delete("/sessions/{id_:str}", status_code=204, opt=SESSION)
async def end_session(entrance: Entrance, signed_in: SignedIn, id_: str) -> None:
    """End one of my sessions."""
    await entrance.reception.end_session(signed_in.user, id_)


@post("/password", status_code=204, opt=SESSION)
async def change_password(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> None:
    """Change my password; my other sessions end."""
    body = await _read(request, _NewPassword)
    origin = entrance.origin(request)
    await entrance.reception.change_password(signed_in, body.current_password, body.new_password, origin)


@get("/users", opt=ADMIN)
async def list_users(entrance: Entrance) -> dict[str, Any]:
    """Everybody, the oldest first."""
    return {"data": [_user_json(user) for user in await entrance.reception.users()]}


@patch("/users/{id_:str}", opt=ADMIN)
async def change_user(request: AnyRequest, entrance: Entrance, id_: str) -> dict[str, Any]:
    """Change a user's role or name, disable or enable him. Who is disabled is signed out."""
    body = await _read(request, _Change)
    if body == _Change():
        raise InvalidRequestError("the request's body: give role, disabled or name")
    name = None if body.name is None else normal_name(body.name)
    change = UserChange(id_, now(), body.role, body.disabled, name)
    return {"user": _user_json(await entrance.reception.change_user(change))}


@delete("/users/{id_:str}", status_code=204, opt=ADMIN)
async def delete_user(entrance: Entrance, id_: str) -> None:
    """Delete a user. His keys stay, without an owner."""
    await entrance.reception.remove_user(id_)


@post("/invites", opt=ADMIN)
async def invite(request: AnyRequest, entrance: Entrance, signed_in: SignedIn) -> dict[str, Any]:
    """A link by which one person becomes a user, within 24 hours. It is told this once."""
    body = await _read(request, _Invitation)
    link = await entrance.reception.invite(body.role, signed_in.user)
    return {
        "url": f"{entrance.address}/setup?token={link.token}",
        "role": link.invite.role,
        "expires_at": iso(link.invite.expires_at),
    }


@post("/setup", opt=PUBLIC)
async def set_up(request: AnyRequest, entrance: Entrance) -> Response[dict[str, Any]]:
    """Become a user by a one-time link, and sign in."""
    body = await _read(request, _Setup)
    origin = entrance.origin(request)
    opened = await entrance.reception.redeem(body.token, body.email, body.name, body.password, origin)
    cookies = [entrance.cookie(request, opened.token)]
    return Response(_signed_in_json(opened.signed_in), status_code=201, cookies=cookies)


def internal_routes() -> Router:
    """All of them, closed to who is not signed in unless a route says otherwise."""
    return Router(
        "/api/internal",
        route_handlers=[
            log_in,
            who_am_i,
            log_out,
            list_sessions,
            end_other_sessions,
            end_session,
            change_password,
            list_users,
            change_user,
            delete_user,
            invite,
            set_up,
            playground.embeddings,
            playground.tokens,
            batch_download.results,
        ],
        guards=[guard],
        dependencies={"signed_in": Provide(signed_in, sync_to_thread=False)},
        response_headers={"Cache-Control": "no-store"},
        include_in_schema=False,
    )


async def _read(request: AnyRequest, kind: type[T]) -> T:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidRequestError("content-type: expected application/json")
    return decode(await read_body(request), msgspec.json.Decoder(kind))


def _signed_in_json(found: SignedIn) -> dict[str, Any]:
    return {"user": _user_json(found.user), "session": _session_json(found.session)}


def _user_json(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "disabled": user.disabled,
        "created_at": iso(user.created_at),
        "last_login_at": None if user.last_login_at is None else iso(user.last_login_at),
    }


def _session_json(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "created_at": iso(session.created_at),
        "seen_at": iso(session.seen_at),
        "expires_at": iso(session.expires_at),
        "user_agent": session.user_agent,
    }
