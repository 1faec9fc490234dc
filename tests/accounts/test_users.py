"""Users and their passwords, on both databases."""

import asyncio
import threading
from concurrent.futures import Future

import msgspec
import pytest

from accounts.house import PASSWORD, House, house
from embedrouter.accounts import invites, users
from embedrouter.accounts.invites import LASTS, NewInvite, Redemption
from embedrouter.accounts.passwords import LONGEST, Cost, Passwords, acceptable
from embedrouter.accounts.sessions import digest_of
from embedrouter.accounts.users import NewUser, PasswordChange, User, UserChange, normal_email, normal_name
from embedrouter.errors import ConflictError, InvalidRequestError, NotFoundError, OverloadedError
from embedrouter.ledger.book import now
from embedrouter.store import tables

# --- what is accepted


@pytest.mark.parametrize("password", ["a" * 12, "ü" * 12, "\U0001f600" * 12, " " * 12, "a" * LONGEST, "\0" * 12])
def test_any_password_of_12_to_256_characters_is_accepted(password: str) -> None:
    assert acceptable(password, "a@b") == password


@pytest.mark.parametrize("password", ["", "a" * 11, "u\u0308" * 11, "a" * 257, "ANNA@example.org", "\ud800" * 12])
def test_other_passwords_are_refused_without_being_told(password: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^password: ") as caught:
        acceptable(password, "anna@example.org")
    assert password == "" or password not in caught.value.message


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("  Anna@Example.ORG ", "anna@example.org"),
        ("a@localhost", "a@localhost"),
        ("U\u0308@b", "ü@b"),
        ("a" * 318 + "@b", "a" * 318 + "@b"),
    ],
)
def test_emails_have_one_spelling(given: str, kept: str) -> None:
    assert normal_email(given) == kept


@pytest.mark.parametrize(
    "wrong", ["", "@", "a@", "@b", "a", "a b@c", "a@b\0", "a\n@b", "a@b@c", "a\ud800@b", "a" * 319 + "@b", "a@\u202eb"]
)
def test_what_is_no_email_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^email: "):
        normal_email(wrong)


def test_names_are_one_printable_line() -> None:
    assert normal_name("  Anna \n\t Zoë ") == "Anna Zoë"
    for wrong in ("a\0b", "x" * 201, "\u202egnp.exe"):
        with pytest.raises(InvalidRequestError, match=r"^name: "):
            normal_name(wrong)


# --- hashing


def test_hashes_are_argon2id_at_64_mib_with_their_own_salt() -> None:
    """Attack 24."""
    passwords = Passwords()
    first, second = passwords.hashed(PASSWORD), passwords.hashed(PASSWORD)
    assert first != second
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=1$")
    assert PASSWORD not in first


def test_a_composed_and_a_decomposed_password_are_one(home: House) -> None:
    home.user("a@b", password=acceptable("schlüssel" * 2, "a@b"))
    assert home.sign_in("a@b", "schlu\u0308ssel" * 2).signed_in.user.email == "a@b"


def test_a_hash_of_another_cost_is_replaced_at_the_next_login(home: House) -> None:
    wanted = NewUser("a@b", "", Passwords(Cost(2, 16)).hashed(PASSWORD), "member", now())
    home.writer.submit(users.create, wanted).result()

    def stored() -> str:
        found = home.database.read_now(lambda connection: users.find_by_email(connection, "a@b"))
        assert found is not None
        return found.password_hash

    assert "m=16,t=2" in stored()
    home.sign_in("a@b")
    assert "m=8,t=1" in stored()
    home.sign_in("a@b")


def test_a_flood_is_refused_and_what_waits_is_bounded() -> None:
    passwords = Passwords(Cost(20, 4096))

    async def flood() -> list[object]:
        return await asyncio.gather(*(passwords.check(None, "x") for _ in range(60)), return_exceptions=True)

    refused = [result for result in asyncio.run(flood()) if isinstance(result, OverloadedError)]
    assert len(refused) == 60 - 18
    assert {error.retry_after for error in refused} == {2}
    assert asyncio.run(passwords.check(None, "x")) == (False, None), "and afterwards there is room again"


def test_who_leaves_the_queue_makes_room() -> None:
    passwords = Passwords(Cost(5, 4096))

    async def leave() -> None:
        waiting = [asyncio.ensure_future(passwords.check(None, "x")) for _ in range(18)]
        await asyncio.sleep(0)
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
        while True:  # those that are being computed go on to their end
            again = [passwords.check(None, "x") for _ in range(18)]
            results = await asyncio.gather(*again, return_exceptions=True)
            if not any(isinstance(result, OverloadedError) for result in results):
                return

    asyncio.run(asyncio.wait_for(leave(), 60))


# --- users


def test_a_user_is_found_as_made_and_never_with_his_hash(home: House) -> None:
    made = home.user("anna@example.org", "admin")
    assert home.database.read_now(lambda connection: users.find(connection, made.id)) == made
    assert home.database.read_now(users.list_users) == [made]
    assert "argon2" not in repr(made)


def test_an_email_is_one_users(home: House) -> None:
    home.user("a@b")
    with pytest.raises(ConflictError, match="exists already"):
        home.user("a@b")


def test_changes_change_what_they_name_only(home: House) -> None:
    home.user("admin@b", "admin")
    user = home.user("a@b")
    changed = home.writer.submit(users.change, UserChange(user.id, user.updated_at + 1, name="Anna")).result()
    assert changed == msgspec.structs.replace(user, name="Anna", updated_at=user.updated_at + 1)
    promoted = home.writer.submit(users.change, UserChange(user.id, now(), role="admin")).result()
    assert (promoted.role, promoted.name, promoted.disabled) == ("admin", "Anna", False)


def test_unknown_users_are_not_found(home: House) -> None:
    for id_ in ("", "user_nobody", "\0", "\ud800", "' OR 1=1 --"):
        for future in (
            home.writer.submit(users.change, UserChange(id_, now(), role="admin")),
            home.writer.submit(users.remove, id_),
            home.writer.submit(users.change_password, PasswordChange(id_, "x", now())),
        ):
            with pytest.raises(NotFoundError):
                future.result()


def test_the_last_administrator_stays_one(home: House) -> None:
    admin = home.user("admin@b", "admin")
    disabled = home.user("other@b", "admin")
    home.writer.submit(users.change, UserChange(disabled.id, now(), disabled=True)).result()
    for future in (
        home.writer.submit(users.change, UserChange(admin.id, now(), disabled=True)),
        home.writer.submit(users.change, UserChange(admin.id, now(), role="member")),
        home.writer.submit(users.remove, admin.id),
    ):
        with pytest.raises(ConflictError, match="last administrator"):
            future.result()
    home.writer.submit(users.remove, disabled.id).result()
    assert home.database.read_now(users.admins) == {admin.id}


def test_two_processes_cannot_take_away_the_last_two_administrators(database_url: str) -> None:
    with house(database_url) as one, house(database_url) as two:
        for attempt in range(5):
            pair = [one.user(f"{attempt}-{name}@b", "admin").id for name in "ab"]
            for other in one.database.read_now(users.admins) - set(pair):
                one.writer.submit(users.remove, other).result()
            gate = threading.Barrier(2)
            futures: list[Future[User]] = []

            def take(home: House, id_: str, gate: threading.Barrier = gate, into: list[Future[User]] = futures) -> None:
                gate.wait()
                into.append(home.writer.submit(users.change, UserChange(id_, now(), role="member")))

            threads = [threading.Thread(target=take, args=pick) for pick in zip((one, two), pair, strict=True)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            errors = [error for future in futures if (error := future.exception(60))]
            assert [type(error) for error in errors] == [ConflictError]
            assert len(one.database.read_now(users.admins)) == 1


# --- links


def _link(home: House, token: str, purpose: invites.Purpose = "invite", by: str | None = None) -> invites.Invite | None:
    wanted = NewInvite(digest_of(token), purpose, "admin" if purpose == "setup" else "member", now(), by)
    return home.writer.submit(invites.make, wanted).result()


def _redeem(home: House, token: str, email: str) -> User:
    wanted = NewUser(email, "", home.passwords.hashed(PASSWORD), "member", now())
    return home.writer.submit(invites.redeem, Redemption(token, wanted)).result()


def test_a_link_makes_one_user_of_its_role(home: House) -> None:
    _link(home, "first", "setup")
    assert _redeem(home, "first", "admin@b").role == "admin"
    _link(home, "second")
    assert _redeem(home, "second", "member@b").role == "member"
    for token in ("first", "second", "third", ""):
        with pytest.raises(NotFoundError, match="not valid"):
            _redeem(home, token, "more@b")


def test_a_taken_email_does_not_use_up_the_link(home: House) -> None:
    home.user("taken@b")
    _link(home, "token")
    with pytest.raises(ConflictError):
        _redeem(home, "token", "taken@b")
    assert _redeem(home, "token", "free@b").email == "free@b"


def test_a_link_ends_after_a_day(home: House) -> None:
    made = _link(home, "token")
    assert made is not None

    def lives(at: int) -> bool:
        return home.database.read_now(lambda connection: invites.find(connection, "token", at)) is not None

    assert lives(made.expires_at - 1)
    assert not lives(made.expires_at)
    assert LASTS == 24 * 3600 * 1_000_000
    home.set_times(tables.invites, expires_at=now())
    with pytest.raises(NotFoundError):
        _redeem(home, "token", "late@b")


def test_a_new_setup_link_voids_the_one_before_and_an_administrator_voids_all(home: House) -> None:
    home.user("member@b")
    _link(home, "invitation")
    _link(home, "old", "setup")
    _link(home, "new", "setup")
    with pytest.raises(NotFoundError):
        _redeem(home, "old", "admin@b")
    home.user("by-cli@b", "admin")
    assert _link(home, "newer", "setup") is None
    with pytest.raises(NotFoundError):
        _redeem(home, "new", "admin@b")
    assert _redeem(home, "invitation", "invited@b").role == "member"


def test_the_links_of_who_is_no_administrator_any_more_are_void(home: House) -> None:
    home.user("admin@b", "admin")
    for number, change in enumerate(({"disabled": True}, {"role": "member"}, None)):
        inviter = home.user(f"{number}@b", "admin")
        _link(home, f"token-{number}", by=inviter.id)
        if change is None:
            home.writer.submit(users.remove, inviter.id).result()
        else:
            home.writer.submit(users.change, UserChange(inviter.id, now(), **change)).result()
        with pytest.raises(NotFoundError):
            _redeem(home, f"token-{number}", "new@b")


def test_one_link_used_in_two_processes_at_once_makes_one_user(database_url: str) -> None:
    with house(database_url) as one, house(database_url) as two:
        _link(one, "token")
        wanted = [NewUser(f"{number}@b", "", "x", "member", now()) for number in range(20)]
        futures = [
            home.writer.submit(invites.redeem, Redemption("token", user))
            for home, user in zip((one, two) * 10, wanted, strict=True)
        ]
        assert sum(future.exception(60) is None for future in futures) == 1
        assert len(one.database.read_now(users.list_users)) == 1
