"""/api/internal/embeddings and /tokens: the Playground of who is signed in.

The first is POST /embeddings to the byte, but for who asks: a session, by the key that its person's Playground has.
"""

import asyncio
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, post
from msgspec import Meta

from embedrouter.accounts.caller import Caller
from embedrouter.accounts.playground import Desk, Wanted
from embedrouter.accounts.sessions import SignedIn
from embedrouter.api.embeddings import EMBEDDINGS
from embedrouter.api.exchange import Exchange
from embedrouter.api.tokens import of_pieces, tokenizer_of
from embedrouter.api.visit import answer_request
from embedrouter.context import Context
from embedrouter.entrance import SESSION, read_body
from embedrouter.errors import InvalidRequestError
from embedrouter.fields import decode
from embedrouter.ledger.book import now
from embedrouter.minilm.facts import WINDOW
from embedrouter.minilm.tokenizer import LONG_TEXT

AnyRequest = Request[Any, Any, Any]

_LARGEST: Final = 4 * LONG_TEXT  # bytes of a body
_MOST_TEXTS: Final = 50


class TokensRequest(msgspec.Struct, frozen=True):
    """The body of POST /tokens."""

    model: str
    texts: Annotated[list[str], Meta(min_length=1, max_length=_MOST_TEXTS)]


@post("/embeddings", status_code=200, opt=SESSION)
async def embeddings(request: AnyRequest, context: Context, signed_in: SignedIn) -> Response[bytes]:
    """Vectors, counted and billed to the person's own Playground key."""
    desk = Desk(context.database, context.writer, context.gatekeeper)

    async def admit(_: Exchange) -> Caller:
        return await desk.caller(Wanted(signed_in.user.id, now()))

    exchange = Exchange(request.scope, request.receive, request.send)
    context.metrics.in_flight += 1
    try:
        answer = await answer_request(exchange, context, admit, EMBEDDINGS)
    finally:
        context.metrics.in_flight -= 1
    return Response(
        answer.body, status_code=answer.status, media_type="application/json", headers=dict(answer.headers)
    )  # fmt: skip


@post("/tokens", status_code=200, opt=SESSION)
async def tokens(request: AnyRequest, context: Context) -> dict[str, Any]:
    """The WordPieces of some texts, for the built-in model."""
    wanted = decode(await read_body(request, _LARGEST), msgspec.json.Decoder(TokensRequest))
    model = context.gateway.model(wanted.model)[0]
    tokenizer = tokenizer_of(context, model)
    if sum(map(len, wanted.texts)) > LONG_TEXT:
        raise InvalidRequestError(
            f"texts: have more than {LONG_TEXT:,} characters in all; send fewer", metadata={"field": "texts"}
        )
    found = await asyncio.to_thread(lambda: [of_pieces(tokenizer.pieces(text)) for text in wanted.texts])
    return {"model": model.slug, "data": [{**one._asdict(), "window": WINDOW} for one in found]}
