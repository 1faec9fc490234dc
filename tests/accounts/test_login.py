"""Throttled logins that tell nothing, on both databases."""

import asyncio

import pytest
from sqlalchemy import select

from accounts.house import PASSWORD, House, house
from embedrouter.accounts import login, users
from embedrouter.accounts.login import LONGEST, OF_ACCOUNT, OF_ADDRESS, Attempt, delay
from embedrouter.accounts.reception import Origin
from embedrouter.accounts.users import UserChange
from embedrouter.errors import AuthenticationError, EmbedRouterError, RateLimitExceededError
from embedrouter.ledger.book import now
from embedrouter.store.tables import login_failures

_ELSEWHERE = [Origin(f"198.51.100.{number}", None) for number in range(256)]


def _fail(home: House, email: str, origin: Origin, password: str = "wrong") -> EmbedRouterError:
    with pytest.raises((AuthenticationError, RateLimitExceededError)) as caught:
        home.sign_in(email, password, origin)
    return caught.value


def _pass_time(home: House) -> None:
    home.set_times(login_failures, blocked_until=0)


def test_delays_double_from_a_second_to_a_quarter_of_an_hour() -> None:
    waits = [delay(failures, OF_ACCOUNT) for failures in range(18)]
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    assert delay(10**9, OF_ACCOUNT) == LONGEST


def test_five_failures_make_the_sixth_wait_before_its_password_is_looked_at(home: House) -> None:
    """Attack 24."""
    home.user("a@b")
    for number in range(OF_ACCOUNT):
        assert _fail(home, "a@b", _ELSEWHERE[number]).status == 401
    looked_at = home.passwords.checks
    refused = _fail(home, "a@b", _ELSEWHERE[9], PASSWORD)
    assert (refused.status, refused.retry_after) == (429, 1)
    assert home.passwords.checks == looked_at
    _pass_time(home)
    assert _fail(home, "a@b", _ELSEWHERE[10]).status == 401
    assert _fail(home, "a@b", _ELSEWHERE[11], PASSWORD).retry_after == 2


def test_success_starts_the_account_anew(home: House) -> None:
    home.user("a@b")
    for _ in range(3):
        for number in range(OF_ACCOUNT - 1):
            assert _fail(home, "a@b", _ELSEWHERE[number]).status == 401
        assert home.sign_in("a@b", origin=_ELSEWHERE[9]).token


def test_an_address_is_throttled_whatever_names_it_tries(home: House) -> None:
    home.user("a@b")
    thief = Origin("203.0.113.7", None)
    for number in range(OF_ADDRESS):
        assert _fail(home, f"{number}@b", thief).status == 401
    assert _fail(home, "a@b", thief, PASSWORD).status == 429
    assert home.sign_in("a@b", origin=_ELSEWHERE[0]).token, "others are not held up"


def test_success_does_not_wash_an_address_clean(home: House) -> None:
    """Else a thief with an account of his own would have as many guesses as he likes."""
    home.user("thief@b")
    thief = Origin("203.0.113.7", None)
    for number in range(OF_ADDRESS - 1):
        _fail(home, f"{number}@b", thief)
    assert home.sign_in("thief@b", origin=thief).token
    _fail(home, "one-more@b", thief)
    assert _fail(home, "victim@b", thief).status == 429


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("", "unknown", False),
    ],
)
def test_an_ipv6_network_of_64_bits_is_one_address(first: str, second: str, same: bool) -> None:
    assert (login._subjects(Attempt("a", first)) == login._subjects(Attempt("a", second))) == same


def test_unknown_wrong_and_disabled_get_the_same_answer_for_the_same_work(home: House) -> None:
    """Attack 24: no name is found out."""
    home.user("admin@b", "admin")
    home.user("known@b")
    disabled = home.user("disabled@b")
    home.writer.submit(users.change, UserChange(disabled.id, now(), disabled=True)).result()
    told = set()
    for number, (email, password) in enumerate(
        [
            ("known@b", "wrong"),
            ("unknown@b", PASSWORD),
            ("disabled@b", PASSWORD),
            ("disabled@b", "wrong"),
            ("no email", PASSWORD),
            ("nul\0@b", PASSWORD),
            ("\ud800@b", PASSWORD),
            ("x" * 10_000, PASSWORD),
            ("unknown@b", "nobody's password"),
        ]
    ):
        before = home.passwords.checks
        error = _fail(home, email, _ELSEWHERE[number], password)
        assert home.passwords.checks == before + 1, "one password is looked at, whatever the name"
        told.add((type(error), error.message, error.retry_after, str(error.metadata)))
    assert len(told) == 1


def test_unknown_names_are_throttled_like_known_ones(home: House) -> None:
    home.user("known@b")

    def answers(email: str) -> list[tuple[int, str]]:
        errors = [_fail(home, email, origin) for origin in _ELSEWHERE[:8]]
        return [(error.status, error.message) for error in errors]

    assert answers("known@b") == answers("unknown@b")


def test_attempts_at_once_in_two_processes_are_no_more_than_the_first_few(database_url: str) -> None:
    """Attack 24."""

    async def flood(home: House) -> list[object]:
        attempts = (home.reception.sign_in("a@b", f"guess {number}", _ELSEWHERE[number]) for number in range(50))
        return await asyncio.gather(*attempts, return_exceptions=True)

    async def both(one: House, two: House) -> list[object]:
        return [*await asyncio.to_thread(asyncio.run, flood(one)), *await flood(two)]

    with house(database_url) as one, house(database_url) as two:
        one.user("a@b")
        results = asyncio.run(both(one, two))
        statuses = [result.status for result in results if isinstance(result, EmbedRouterError)]
        assert one.passwords.checks + two.passwords.checks <= OF_ACCOUNT + 3  # a few seconds may pass meanwhile
        assert statuses.count(429) == 100 - (one.passwords.checks + two.passwords.checks)


def test_a_password_nobody_looked_at_is_no_attempt(home: House) -> None:
    home.user("a@b")
    attempt = Attempt("a@b", "192.0.2.1")
    for _ in range(OF_ACCOUNT * 3):
        home.writer.submit(login.count, attempt).result()
        home.writer.submit(login.take_back, attempt).result()
    assert home.sign_in("a@b").token


def test_what_is_kept_names_nobody_and_is_forgotten_after_a_day(home: House) -> None:
    home.user("a@b")
    for _ in range(OF_ACCOUNT):
        _fail(home, "a@b", Origin("203.0.113.7", None))

    def kept() -> list[object]:
        return list(home.database.read_now(lambda connection: connection.execute(select(login_failures)).all()))

    assert len(kept()) == 2
    assert "a@b" not in repr(kept())
    assert "203.0.113.7" not in repr(kept())
    home.reception.tidy()
    assert len(kept()) == 2
    home.set_times(login_failures, updated_at=now() - 86_400 * 1_000_000)
    assert home.sign_in("a@b").token, "they count no more, also before they are tidied away"
    home.set_times(login_failures, updated_at=now() - 86_400 * 1_000_000)
    home.reception.tidy()
    assert kept() == []
