"""What a key is under: its workspace's settings and its guardrails', as the gatekeeper tells them."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from accounts.house import House, house
from embedrouter.accounts import first, guardrails, keys, presets, workspaces
from embedrouter.accounts.caller import Caller, Gatekeeper
from embedrouter.accounts.first import WORKSPACE
from embedrouter.accounts.guardrails import Assigning, GuardrailChange, NewGuardrail, Rules, constraints_of, with_zdr
from embedrouter.accounts.keys import NewKey, digest_of, new_secret
from embedrouter.accounts.presets import NewVersion, Of, PresetShelf
from embedrouter.accounts.ring import KeyRing
from embedrouter.accounts.workspaces import NewWorkspace, Preferences, WorkspaceChange, wrong_order
from embedrouter.catalog.constraints import Constraints
from embedrouter.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
)

NOON = 1_772_625_600_000_000


class Rule:
    """One process's keys and rules."""

    def __init__(self, home: House) -> None:
        self.home = home
        home.writer.submit(first.furnish, NOON).result()
        self.ring = KeyRing(home.database)
        self.ring.load()

    def do(self, handler: Any, payload: Any) -> Any:
        result = self.home.writer.submit(handler, payload).result(60)
        self.ring.load()
        return result

    def key(self, workspace_id: str = WORKSPACE) -> tuple[str, keys.ApiKey]:
        secret = new_secret()
        return secret, self.do(keys.create, NewKey(digest_of(secret), "sk", "a test's", "api", NOON, workspace_id))

    def workspace(self, slug: str, **preferences: Any) -> str:
        wanted = NewWorkspace(str(uuid.uuid4()), slug, slug, True, Preferences(**preferences), NOON)
        made: str = self.do(workspaces.create, wanted).id
        return made

    def guardrail(self, limit: int | None = None, workspace_id: str = WORKSPACE, **rules: Any) -> str:
        id_ = str(uuid.uuid4())
        self.do(guardrails.create, NewGuardrail(id_, workspace_id, "g", limit, None, Rules(**rules), NOON))
        return id_

    def assign(self, id_: str, key: keys.ApiKey) -> None:
        self.do(guardrails.assign, Assigning(id_, (key.hash,), "a test", NOON))

    def caller(self, secret: str, ring: KeyRing | None = None) -> Caller:
        return Gatekeeper(ring or self.ring, "track").admit(secret, NOON)


@pytest.fixture
def rule(database_url: str) -> Iterator[Rule]:
    with house(database_url) as opened:
        yield Rule(opened)


def test_rules_become_constraints() -> None:
    assert constraints_of(Rules()) == Constraints()
    assert constraints_of(Rules(enforce_zdr_openai=True)).zdr
    assert not constraints_of(Rules(enforce_zdr=True, enforce_zdr_other=False)).zdr  # which stands for the five
    assert constraints_of(Rules(enable_paid_model_training=False)).no_training
    assert not constraints_of(Rules(enable_paid_model_training=True)).no_training
    assert constraints_of(Rules(allowed_models=("a/b",), ignored_providers=("x",))) == Constraints(
        allowed_models=frozenset({"a/b"}), ignored_providers=frozenset({"x"})
    )


def test_the_old_zdr_field_stands_for_those_that_are_left_out() -> None:
    given = with_zdr({"enforce_zdr": True, "enforce_zdr_openai": False})
    assert (given["enforce_zdr_openai"], given["enforce_zdr_other"]) == (False, True)
    assert with_zdr({"enforce_zdr_openai": True}) == {"enforce_zdr_openai": True}


def test_longer_budgets_must_be_larger() -> None:
    assert wrong_order({"day": 1, "week": 2, "month": 3, "total": 4}) is None
    assert wrong_order({"day": 1, "total": 2}) is None
    told = wrong_order({"day": 5_000_000_000_000, "total": 5_000_000_000_000})
    assert told == "the daily budget ($5.00) must be less than the lifetime one ($5.00)"


def test_a_caller_carries_what_his_workspace_and_both_guardrails_allow(rule: Rule) -> None:
    workspace_id = rule.workspace("research", default_provider_sort="latency")
    secret, key = rule.key(workspace_id)
    assert rule.caller(secret).constraints == Constraints(workspace_id=workspace_id, default_sort="latency")
    default = guardrails.default_id(workspace_id)
    rule.do(
        guardrails.change,
        GuardrailChange(default, NOON, {"limit_pico": 9}, {"allowed_models": ("a/b", "a/c"), "enforce_zdr_xai": True}),
    )
    own = rule.guardrail(7, allowed_models=("a/c", "a/d"), ignored_providers=("x",))
    rule.assign(own, key)
    caller = rule.caller(secret)
    assert caller.constraints == Constraints(
        workspace_id=workspace_id,
        default_sort="latency",
        allowed_models=frozenset({"a/c"}),
        ignored_providers=frozenset({"x"}),
        zdr=True,
    )
    assert caller.payer.guardrails == ((default, "total"), (own, "total"))
    assert caller.payer.limited
    other, _ = rule.key()
    assert rule.caller(other).constraints == Constraints(workspace_id=WORKSPACE)
    assert rule.caller(other).payer.guardrails == ()


def test_a_change_of_a_guardrail_holds_at_the_next_look(rule: Rule) -> None:
    secret, key = rule.key()
    id_ = rule.guardrail(ignored_models=("a/b",))
    assert rule.caller(secret).constraints.ignored_models == frozenset()  # not assigned yet
    rule.assign(id_, key)
    elsewhere = KeyRing(rule.home.database)
    elsewhere.load()
    rule.do(guardrails.change, GuardrailChange(id_, NOON, {}, {"ignored_models": ("a/c",)}))
    assert rule.caller(secret).constraints.ignored_models == {"a/c"}
    assert rule.caller(secret, elsewhere).constraints.ignored_models == {"a/b"}
    elsewhere.load()
    assert rule.caller(secret, elsewhere).constraints.ignored_models == {"a/c"}
    rule.do(guardrails.remove, id_)
    assert rule.caller(secret).constraints.ignored_models == frozenset()


def test_a_change_of_a_workspace_holds_at_the_next_look(rule: Rule) -> None:
    secret, _ = rule.key()
    assert rule.caller(secret).constraints.default_sort is None
    change = WorkspaceChange("default", NOON, {"in_rankings": False}, {"default_provider_sort": "price"})
    rule.do(workspaces.change, change)
    assert rule.caller(secret).constraints.default_sort == "price"
    assert not rule.caller(secret).public


def test_a_key_whose_workspace_is_not_known_yet_is_told_to_wait(rule: Rule) -> None:
    """It may have rules that this process does not know."""
    elsewhere = KeyRing(rule.home.database)
    elsewhere.load()
    secret, key = rule.key(rule.workspace("new"))
    elsewhere.learn(key)
    with pytest.raises(OverloadedError):
        rule.caller(secret, elsewhere)
    elsewhere.load()
    assert rule.caller(secret, elsewhere).key == key


def test_a_key_that_another_process_has_just_made_is_waited_for_and_a_deleted_one_is_not(rule: Rule) -> None:
    gatekeeper, secret = Gatekeeper(rule.ring, "track"), new_secret()
    made = rule.home.writer.submit(keys.create, NewKey(digest_of(secret), "sk", "new", "api", NOON, WORKSPACE)).result(
        60
    )
    with pytest.raises(OverloadedError):
        gatekeeper.admit_again(made.id, NOON)
    rule.ring.load()
    assert gatekeeper.admit_again(made.id, NOON).key.id == made.id
    rule.do(keys.change, keys.KeyChange(made.hash, {"deleted_at": NOON}, NOON))
    with pytest.raises(AuthenticationError, match="deleted"):
        gatekeeper.admit_again(made.id, NOON)


def test_a_default_guardrail_is_not_assigned_and_not_renamed(rule: Rule) -> None:
    _, key = rule.key()
    default = guardrails.default_id(WORKSPACE)
    with pytest.raises(NotFoundError):
        rule.assign(default, key)
    rule.do(guardrails.change, GuardrailChange(default, NOON, {}, {}))
    with pytest.raises(InvalidRequestError, match="holds for all"):
        rule.assign(default, key)
    with pytest.raises(InvalidRequestError, match="named for its workspace"):
        rule.do(guardrails.change, GuardrailChange(default, NOON, {"name": "mine"}, {}))


def test_a_workspace_with_keys_or_with_guardrails_of_others_keys_is_not_deleted(rule: Rule) -> None:
    workspace_id = rule.workspace("short-lived")
    secret, key = rule.key(workspace_id)
    with pytest.raises(InvalidRequestError, match="has 1 API keys"):
        rule.do(workspaces.remove, "short-lived")
    rule.do(keys.change, keys.KeyChange(key.hash, {"deleted_at": NOON}, NOON))
    _, other = rule.key()
    id_ = rule.guardrail(workspace_id=workspace_id, ignored_models=("a/b",))
    rule.assign(id_, other)
    with pytest.raises(InvalidRequestError, match="assigned to 1 keys of other workspaces"):
        rule.do(workspaces.remove, workspace_id)
    rule.do(guardrails.unassign, Assigning(id_, (other.hash,), "a test", NOON))
    rule.do(workspaces.remove, workspace_id)
    assert rule.home.database.read_now(workspaces.count) == 1
    with pytest.raises(NotFoundError):
        rule.home.database.read_now(lambda connection: guardrails.find(connection, id_))
    with pytest.raises(PermissionDeniedError):
        rule.do(workspaces.remove, "default")


def test_the_newest_version_of_a_preset_counts_and_other_processes_take_it_in(rule: Rule) -> None:
    shelf = PresetShelf(rule.home.database)
    shelf.load()
    of = Of(WORKSPACE, "fast")
    for number, config in enumerate((b'{"model":"a/b"}', b'{"model":"a/c"}'), 1):
        wanted = NewVersion(str(uuid.uuid4()), *of, None, None, config, "key:a test", time.time_ns() // 1000)
        made = rule.do(presets.create, wanted)
        assert made.version == number
        shelf.load()
        assert shelf.find(of) == made
    assert shelf.find(Of(WORKSPACE, "slow")) is None
    rule.do(presets.remove, of)
    shelf.load()
    assert shelf.find(of) is None
