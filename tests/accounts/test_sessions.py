"""Sessions, on both databases."""

import pytest
from sqlalchemy import select

from accounts.house import HERE, PASSWORD, House, house
from embedrouter.accounts import sessions, users
from embedrouter.accounts.reception import Origin
from embedrouter.accounts.sessions import IDLE, LONGEST, MOST, SEEN_EVERY, NewSession, digest_of
from embedrouter.accounts.users import PasswordChange, UserChange
from embedrouter.errors import AuthenticationError, ConflictError, InvalidRequestError, NotFoundError
from embedrouter.ledger.book import now
from embedrouter.store.tables import sessions as table
from server import eventually

_DAY = 86_400 * 1_000_000


def test_a_token_has_256_bits_and_only_its_digest_is_kept(home: House) -> None:
    """Attack 27."""
    home.user("a@b")
    tokens = {home.sign_in("a@b").token for _ in range(3)}
    assert {len(token) for token in tokens} == {43}
    assert len(tokens) == 3
    kept = home.database.read_now(lambda connection: connection.execute(select(table)).mappings().all())
    assert {row["token_hash"] for row in kept} == {digest_of(token) for token in tokens}
    assert not any(token in repr(kept) for token in tokens)


def test_other_tokens_open_nothing(home: House) -> None:
    home.user("a@b")
    token = home.sign_in("a@b").token
    for wrong in ("", "x", "x" * 43, "' OR 1=1 --", "\0", "\udcff", "x" * 10_000, token[:-1], token + "x"):
        assert home.who(wrong) is None
    assert home.who(digest_of(token)) is None, "what the database holds is no token"
    assert home.who(token) is not None


def test_a_session_ends_after_14_idle_days_and_after_30_in_any_case(home: House) -> None:
    home.user("a@b")
    opened = home.sign_in("a@b")
    begun = opened.signed_in.session.created_at
    assert (IDLE, LONGEST) == (14 * _DAY, 30 * _DAY)

    def lives(seen_at: int, at: int) -> bool:
        home.set_times(table, seen_at=seen_at)
        return home.database.read_now(lambda connection: sessions.find(connection, opened.token, at)) is not None

    assert lives(begun, begun + IDLE - 1)
    assert not lives(begun, begun + IDLE)
    assert lives(begun + 20 * _DAY, begun + LONGEST - 1)
    assert not lives(begun + 29 * _DAY, begun + LONGEST)


def test_use_is_noted_at_most_once_a_minute(home: House) -> None:
    home.user("a@b")
    opened = home.sign_in("a@b")

    def seen_at() -> int:
        return int(home.database.read_now(lambda connection: connection.execute(select(table.c.seen_at)).scalar_one()))

    commits = home.writer.commits
    for _ in range(5):
        assert home.who(opened.token) is not None
    assert home.writer.commits == commits
    old = now() - SEEN_EVERY
    home.set_times(table, seen_at=old)
    assert home.who(opened.token) is not None
    eventually(lambda: seen_at() > old)


def test_each_login_makes_a_new_session(home: House) -> None:
    user = home.user("a@b")
    first, second = home.sign_in("a@b"), home.sign_in("a@b", origin=Origin("::1", "other\r\nbrowser" + "x" * 300))
    listed = home.run(home.reception.sessions_of(user))
    assert {one.id for one in listed} == {first.signed_in.session.id, second.signed_in.session.id}
    assert {one.user_agent for one in listed} == {"a browser", ("otherbrowser" + "x" * 300)[:256]}


def test_signing_out_ends_that_session_only(home: House) -> None:
    home.user("a@b")
    first, second = home.sign_in("a@b"), home.sign_in("a@b")
    home.run(home.reception.sign_out(first.signed_in))
    assert home.who(first.token) is None
    assert home.who(second.token) is not None


def test_one_session_or_all_others_are_ended(home: House) -> None:
    user = home.user("a@b")
    opened = [home.sign_in("a@b") for _ in range(4)]
    home.run(home.reception.end_session(user, opened[0].signed_in.session.id))
    assert [home.who(one.token) is not None for one in opened] == [False, True, True, True]
    assert home.run(home.reception.end_others(opened[3].signed_in)) == 2
    assert [home.who(one.token) is not None for one in opened] == [False, False, False, True]
    assert home.run(home.reception.end_others(opened[3].signed_in)) == 0


def test_unknown_and_other_peoples_sessions_are_not_found(home: House) -> None:
    home.user("victim@b")
    victim, thief = home.sign_in("victim@b"), home.user("thief@b")
    for id_ in (victim.signed_in.session.id, "", "sess_nothing", "\0", "%", "\ud800"):
        with pytest.raises(NotFoundError):
            home.run(home.reception.end_session(thief, id_))
    assert home.who(victim.token) is not None


def test_disabling_and_deleting_end_sessions_at_once_in_every_process(database_url: str) -> None:
    """Attack 27."""
    with house(database_url) as one, house(database_url) as two:
        one.user("admin@b", "admin")
        for handler in ("disable", "delete"):
            user = one.user(f"{handler}@b")
            token = one.sign_in(user.email).token
            assert two.who(token) is not None
            if handler == "disable":
                one.writer.submit(users.change, UserChange(user.id, now(), disabled=True)).result()
            else:
                one.writer.submit(users.remove, user.id).result()
            assert two.who(token) is None
        enabled = one.database.read_now(lambda connection: users.find_by_email(connection, "disable@b"))
        assert enabled is not None
        one.writer.submit(users.change, UserChange(enabled.user.id, now(), disabled=False)).result()
        assert two.sign_in("disable@b").token


def test_a_role_counts_at_once_in_open_sessions(home: House) -> None:
    home.user("admin@b", "admin")
    user = home.user("a@b", "admin")
    token = home.sign_in("a@b").token
    home.writer.submit(users.change, UserChange(user.id, now(), role="member")).result()
    found = home.who(token)
    assert found is not None
    assert not found.is_admin


def test_a_new_password_ends_the_other_sessions(home: House) -> None:
    home.user("a@b")
    mine, other = home.sign_in("a@b"), home.sign_in("a@b")
    home.run(home.reception.change_password(mine.signed_in, PASSWORD, PASSWORD + "!", HERE))
    assert home.who(mine.token) is not None
    assert home.who(other.token) is None
    assert home.sign_in("a@b", PASSWORD + "!").token
    with pytest.raises(AuthenticationError):
        home.sign_in("a@b")


def test_a_wrong_current_password_changes_nothing(home: House) -> None:
    home.user("a@b")
    mine, other = home.sign_in("a@b"), home.sign_in("a@b")
    with pytest.raises(InvalidRequestError, match="current_password"):
        home.run(home.reception.change_password(mine.signed_in, "wrong", PASSWORD + "!", HERE))
    with pytest.raises(InvalidRequestError, match="12 to 256"):
        home.run(home.reception.change_password(mine.signed_in, PASSWORD, "short", HERE))
    assert home.who(other.token) is not None
    assert home.sign_in("a@b").token


def test_a_login_begun_with_the_old_password_ends_nowhere(home: House) -> None:
    """Its password was looked at before the change, its session would begin after it."""
    user = home.user("a@b")
    known = home.database.read_now(lambda connection: users.find_by_email(connection, "a@b"))
    assert known is not None
    home.writer.submit(users.change_password, PasswordChange(user.id, "new", now(), known.password_hash)).result()
    late = NewSession(digest_of("token"), user.id, known.password_hash, now())
    with pytest.raises(AuthenticationError):
        home.writer.submit(sessions.begin, late).result()
    assert home.who("token") is None
    with pytest.raises(ConflictError):
        home.writer.submit(users.change_password, PasswordChange(user.id, "x", now(), known.password_hash)).result()


def test_sessions_of_one_user_are_bounded(home: House) -> None:
    user = home.user("a@b")
    known = home.database.read_now(lambda connection: users.find_by_email(connection, "a@b"))
    assert known is not None
    at = now()
    for number in range(MOST + 3):
        wanted = NewSession(digest_of(str(number)), user.id, known.password_hash, at + number)
        home.writer.submit(sessions.begin, wanted)
    eventually(lambda: home.who(str(MOST + 2)) is not None)
    assert home.who("2") is None
    assert home.who("3") is not None


def test_what_is_over_is_forgotten(home: House) -> None:
    home.user("a@b")
    opened = home.sign_in("a@b")
    home.reception.tidy()
    assert home.who(opened.token) is not None
    home.set_times(table, seen_at=now() - IDLE)
    home.reception.tidy()
    assert home.database.read_now(lambda connection: connection.execute(select(table)).all()) == []
