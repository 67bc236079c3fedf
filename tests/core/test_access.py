"""The rules of access, as tables."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from jupyter_mlops.core import access
from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.records import Role

NONE, READ, WRITE, PROMOTE, ADMIN = Scope
BOTH = frozenset({"red", "blue"})
RED = frozenset({"red"})

ada = Principal("ada", BOTH)
PRINCIPALS = {
    "user": ada,
    "reader": Principal("ada", BOTH, READ),
    "nobody": Principal("ada", BOTH, NONE),
    "admin": Principal("root", scope=ADMIN),
    "lead": Principal("ada", BOTH, WRITE, (("red", PROMOTE),)),
    "token for a group": Principal("ci", scope=NONE, group_scopes=(("green", READ), ("red", WRITE))),
    "admin of a group": Principal("boss", scope=READ, group_scopes=(("red", ADMIN),)),
    "named like a group": Principal("group:red", scope=WRITE),
}


@pytest.mark.parametrize(
    ("who", "on_themselves", "on_red", "on_green", "on_bo"),
    [
        ("user", WRITE, WRITE, NONE, NONE),
        ("reader", READ, READ, NONE, NONE),
        ("nobody", NONE, NONE, NONE, NONE),
        ("admin", ADMIN, ADMIN, ADMIN, ADMIN),
        ("lead", WRITE, PROMOTE, NONE, NONE),
        ("token for a group", NONE, WRITE, READ, NONE),
        ("admin of a group", READ, ADMIN, NONE, NONE),
        ("named like a group", NONE, NONE, NONE, NONE),
    ],
)
def test_a_scope_is_by_owner(who: str, on_themselves: Scope, on_red: Scope, on_green: Scope, on_bo: Scope) -> None:
    principal = PRINCIPALS[who]
    owners = (principal.name, "group:red", "group:green", "bo")
    assert [principal.scope_on(owner) for owner in owners] == [on_themselves, on_red, on_green, on_bo]


@pytest.mark.parametrize(("who", "scope"), list(product(PRINCIPALS, Scope)))
def test_the_owners_reached_are_those_on_whom_there_is_the_scope(who: str, scope: Scope) -> None:
    principal = PRINCIPALS[who]
    reached = access.owners_reached(principal, scope)
    everybody = ["ada", "bo", "ci", "boss", "root", "red", *(f"group:{group}" for group in ("red", "blue", "green"))]
    if reached is None:
        assert all(principal.scope_on(owner) is ADMIN for owner in everybody)
    elif scope > NONE:
        assert set(reached) & set(everybody) == {o for o in everybody if principal.scope_on(o) >= scope}
        assert list(reached) == sorted(set(reached))


@pytest.mark.parametrize(
    ("principal", "owner"),
    [
        (Principal("ada"), "ada"),
        (Principal("ada", RED), "group:red"),
        (Principal("ada", BOTH), "ada"),
        (Principal("ada", BOTH, default_owner="group:blue"), "group:blue"),
        (Principal("ada", RED, default_owner="ada"), "ada"),
        (access.local_principal("ada"), "ada"),
    ],
)
def test_the_default_owner(principal: Principal, owner: str) -> None:
    assert access.default_owner(principal) == owner


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("churn", (None, "churn")),
        ("red/churn", ("group:red", "churn")),
        ("red/a/b", ("group:red", "a/b")),
        ("red/", ("group:red", "")),
        ("red", (None, "red")),
        ("green/churn", (None, "green/churn")),
        ("ada/churn", (None, "ada/churn")),
        ("/red/churn", (None, "/red/churn")),
    ],
)
def test_a_group_before_a_name_is_its_owner_for_its_members_only(name: str, expected: tuple[str | None, str]) -> None:
    assert access.split_owner(ada, name) == expected
    assert access.split_owner(Principal("bo", scope=ADMIN), name) == (None, name)


# What a principal may do in an experiment of `owner`, without a share and with one of each role.
IN_EXPERIMENTS = [
    ("user", "group:red", WRITE, WRITE, WRITE),
    ("user", "bo", NONE, READ, WRITE),
    ("reader", "bo", NONE, READ, READ),
    ("nobody", "bo", NONE, NONE, NONE),
    ("nobody", "ada", NONE, NONE, NONE),
    ("admin", "bo", ADMIN, ADMIN, ADMIN),
    ("lead", "bo", NONE, READ, WRITE),
    ("lead", "group:red", PROMOTE, PROMOTE, PROMOTE),
    ("token for a group", "group:green", READ, READ, READ),
    ("token for a group", "bo", NONE, NONE, NONE),
    ("admin of a group", "bo", NONE, READ, READ),
]


@pytest.mark.parametrize(("who", "owner", "unshared", "read", "write"), IN_EXPERIMENTS)
def test_a_share_opens_an_experiment_as_far_as_the_credential_goes(
    who: str, owner: str, unshared: Scope, read: Scope, write: Scope
) -> None:
    principal = PRINCIPALS[who]
    roles = (None, Role.READ, Role.WRITE)
    assert [access.scope_in_experiment(principal, owner, role) for role in roles] == [unshared, read, write]


def outcome(call: Callable[[], None]) -> str:
    try:
        call()
    except (NotFound, PermissionDenied) as error:
        return type(error).__name__
    return ""


GONE, DENIED, FINE = "NotFound", "PermissionDenied", ""


@pytest.mark.parametrize(
    ("who", "owner", "role", "reading", "writing", "owning"),
    [
        ("user", "ada", None, FINE, FINE, FINE),
        ("user", "group:red", None, FINE, FINE, FINE),
        ("user", "bo", None, GONE, GONE, GONE),
        ("user", "bo", Role.READ, FINE, DENIED, DENIED),
        ("user", "bo", Role.WRITE, FINE, FINE, DENIED),
        ("reader", "ada", None, FINE, DENIED, DENIED),
        ("reader", "bo", Role.WRITE, FINE, DENIED, DENIED),
        ("nobody", "ada", Role.WRITE, GONE, GONE, GONE),
        ("admin", "bo", None, FINE, FINE, FINE),
        ("token for a group", "group:red", None, FINE, FINE, FINE),
        ("token for a group", "group:green", None, FINE, DENIED, DENIED),
        ("token for a group", "ci", None, GONE, GONE, GONE),
        ("admin of a group", "group:red", None, FINE, FINE, FINE),
        ("admin of a group", "boss", None, FINE, DENIED, DENIED),
        # One who may read a group's things, and has them shared for writing.
        ("reader", "group:red", Role.WRITE, FINE, DENIED, DENIED),
    ],
)
def test_what_is_allowed_in_an_experiment(
    who: str, owner: str, role: Role | None, reading: str, writing: str, owning: str
) -> None:
    principal = PRINCIPALS[who]
    assert outcome(lambda: access.require(principal, owner, READ, "it", role)) == reading
    assert outcome(lambda: access.require(principal, owner, WRITE, "it", role)) == writing
    assert outcome(lambda: access.require_ownership(principal, owner, "it", role)) == owning


@pytest.mark.parametrize(
    ("who", "owner", "reading", "reading_restricted", "writing"),
    [
        ("user", "group:red", FINE, FINE, FINE),
        ("user", "bo", FINE, GONE, DENIED),
        ("reader", "ada", FINE, FINE, DENIED),
        ("reader", "bo", FINE, GONE, DENIED),
        ("nobody", "ada", GONE, GONE, GONE),
        ("admin", "bo", FINE, FINE, FINE),
        ("token for a group", "group:green", FINE, FINE, DENIED),
        ("token for a group", "group:red", FINE, FINE, FINE),
        ("token for a group", "bo", GONE, GONE, GONE),
        ("admin of a group", "group:red", FINE, FINE, FINE),
        ("named like a group", "group:red", FINE, GONE, DENIED),
    ],
)
def test_models_are_for_all_who_may_read_unless_restricted(
    who: str, owner: str, reading: str, reading_restricted: str, writing: str
) -> None:
    def tried(scope: Scope, restricted: bool) -> str:
        principal = PRINCIPALS[who]
        return outcome(lambda: access.require_model(principal, owner, scope, "it", restricted=restricted))

    assert tried(READ, False) == reading
    assert tried(READ, True) == reading_restricted
    assert tried(WRITE, False) == writing
    assert tried(WRITE, True) == (GONE if reading_restricted == GONE else writing)


@pytest.mark.parametrize(
    ("principal", "grantees"),
    [
        (ada, ("everyone", "group:blue", "group:red", "user:ada")),
        (PRINCIPALS["reader"], ("everyone", "group:blue", "group:red", "user:ada")),
        (PRINCIPALS["nobody"], ()),
        (PRINCIPALS["token for a group"], ()),
        (PRINCIPALS["named like a group"], ("everyone", "user:group:red")),
        (Principal("everyone"), ("everyone", "user:everyone")),
    ],
)
def test_who_is_meant_by_a_share(principal: Principal, grantees: tuple[str, ...]) -> None:
    assert access.grantees_of(principal) == grantees


@pytest.mark.parametrize("name", ["ada", "group:red", "everyone", "user:x", "a/b"])
def test_a_grantee_tells_users_from_groups(name: str) -> None:
    user = access.grantee(to_user=name, to_group=None, to_everyone=False)
    group = access.grantee(to_user=None, to_group=name, to_everyone=False)
    everyone = access.grantee(to_user=None, to_group=None, to_everyone=True)
    assert len({user, group, everyone}) == 3
    assert [access.grantee_parts(each) for each in (user, group, everyone)] == [
        (name, None),
        (None, name),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("to_user", "to_group", "to_everyone"),
    [
        (None, None, False),
        ("a", "b", False),
        ("a", None, True),
        (None, "b", True),
        ("", None, False),
        (None, " ", False),
    ],
)
def test_a_share_is_for_exactly_one(to_user: str | None, to_group: str | None, to_everyone: bool) -> None:
    with pytest.raises(InvalidValue):
        access.grantee(to_user=to_user, to_group=to_group, to_everyone=to_everyone)


def test_a_role_is_known_by_its_name() -> None:
    assert [access.role_named(name) for name in ("read", "write", Role.READ)] == [Role.READ, Role.WRITE, Role.READ]
    with pytest.raises(InvalidValue, match="'read' and 'write'"):
        access.role_named("admin")


@pytest.mark.parametrize("name", ["ada", "group:red", "x" * 255])
def test_owners_have_names(name: str) -> None:
    assert access.owner_name(name) == name


@pytest.mark.parametrize("name", ["", " ", "group:", "group: ", "x" * 256, "a\nb", None])
def test_what_is_no_name_is_no_owner(name: object) -> None:
    with pytest.raises(InvalidValue):
        access.owner_name(name)


def test_what_runs_the_code_of_others_decides_nothing() -> None:
    access.require_decision(ada, "it")
    with pytest.raises(PermissionDenied, match=r"log in on the service's page.*token made for it"):
        access.require_decision(Principal("ada", BOTH, ADMIN, decides=False), "it")
