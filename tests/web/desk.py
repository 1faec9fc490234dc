"""An administrator at a server with a management key, for tests of the dashboard."""

import re
from functools import cache
from html import unescape

from security.people import PASSWORD, Browser, setup_token
from server import MANAGER, Answer, shared

HOSTILE = '"><script>alert(1)</script>'


@cache
def desk() -> Browser:
    """One for the session."""
    server = shared(trust_proxy="true", management_key=MANAGER, secrets_key=f"one:{'A' * 43}=")
    admin = Browser(server)
    answer = admin.post("/setup", token=setup_token(server), email=admin.email, password=PASSWORD)
    assert answer.status == 201, answer.body
    return admin


def went_to(answer: Answer) -> str:
    """Where a form led."""
    assert answer.status == 303, (answer.status, alert(answer))
    return answer.headers["location"]


def alert(answer: Answer) -> str:
    """What a page says is wrong."""
    found = re.search(r'<p class="note bad" role="alert">(.*?)</p>', answer.body.decode(), re.DOTALL)
    return unescape(found[1]) if found else ""


def wrong_fields(answer: Answer) -> list[str]:
    """The fields that a page marks."""
    return re.findall(r'<(?:input|select|textarea)[^>]* name="([^"]*)" aria-invalid="true"', answer.body.decode())
