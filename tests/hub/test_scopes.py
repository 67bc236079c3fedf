"""What the hub's words come to here."""

from __future__ import annotations

import pytest

from jupyter_mlops.core.access import Principal, Scope, default_owner
from jupyter_mlops.core.errors import PermissionDenied
from jupyter_mlops.hub.diagnosis import missing
from jupyter_mlops.hub.scopes import granted, principal_of

SERVER = ("access:servers!server=ann/", "users:activity!user=ann")


def of(*scopes: str, interactive: bool = False, **model: object) -> Principal:
    model.setdefault("name", "ann")
    groups = model.pop("default_groups", ())
    return principal_of({**model, "scopes": list(scopes)}, interactive=interactive, default_groups=groups)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scopes", "everywhere", "by_group"),
    [
        ([], Scope.NONE, {}),
        (["self", "access:services", "custom:other:admin", "custom:mlops:owner"], Scope.NONE, {}),
        (["custom:mlops:read", "custom:mlops:write"], Scope.WRITE, {}),
        (["custom:mlops:write", "custom:mlops:read!group=red"], Scope.WRITE, {"red": Scope.READ}),
        (["custom:mlops:promote!group=a", "custom:mlops:admin!group=a"], Scope.NONE, {"a": Scope.ADMIN}),
        (["custom:mlops:read!group=a=b!c"], Scope.NONE, {"a=b!c": Scope.READ}),
        (["custom:mlops:admin!user=ann", "custom:mlops:admin!server=ann/", "custom:mlops:admin!group"], Scope.NONE, {}),
        (["custom:mlops:admin!group=", "custom:mlops:admin!"], Scope.NONE, {}),
    ],
)
def test_scopes_and_their_filters(scopes: list[str], everywhere: Scope, by_group: dict[str, Scope]) -> None:
    assert granted(scopes) == (everywhere, by_group)


def test_an_administrator_of_the_hub_is_none_here() -> None:
    assert of("custom:mlops:write", "admin:users", admin=True).scope is Scope.WRITE
    assert of("admin:users", "access:services", admin=True).scope is Scope.NONE


def test_what_decides() -> None:
    assert of("custom:mlops:write", interactive=True).decides
    assert of("custom:mlops:promote").decides
    assert of("custom:mlops:write", "custom:mlops:promote!group=red").decides
    assert not of("custom:mlops:write").decides
    assert not of("custom:mlops:write", *SERVER).decides
    # A server's token that was given too much by mistake.
    assert not of("custom:mlops:admin", *SERVER).decides


def test_services_are_no_users() -> None:
    assert of("custom:mlops:write", kind="service", name="ann").name == "service:ann"
    for name in ("service:ci", "group:red", "check:7", "", "a\nb", "x" * 300):
        with pytest.raises(PermissionDenied):
            of("custom:mlops:write", name=name)


def test_the_default_owner() -> None:
    assert default_owner(of("custom:mlops:write")) == "ann"
    assert default_owner(of("custom:mlops:write", groups=["red"], default_groups=["blue"])) == "group:red"
    assert default_owner(of("custom:mlops:write", groups=["red", "blue"])) == "ann"
    several = of("custom:mlops:write", groups=["red", "blue"], default_groups=["green", "blue", "red"])
    assert default_owner(several) == "group:blue"
    assert default_owner(of("custom:mlops:write", groups=["red", "blue"], default_groups=["green"])) == "ann"


def test_what_is_missing_is_said_with_what_to_write() -> None:
    def told(*scopes: str, name: str = "mlops", kind: str = "service") -> list[str]:
        return list(missing({"kind": kind, "name": name, "scopes": scopes}, "mlops"))

    access, groups = "access:services!service=mlops", "read:groups"
    assert told(access, "custom:mlops:write", "custom:mlops:read", groups) == []
    assert told("access:services", "custom:mlops:read!group=red", groups) == []
    assert [one.partition(",")[0] for one in told()] == [access, "custom:mlops:write (or custom:mlops:read)", groups]
    found = told("custom:mlops:read", "access:services!service=other", groups)
    assert [one.partition(",")[0] for one in found] == [access]
    (gap,) = told(access, "custom:mlops:write", groups)
    assert gap.startswith("custom:mlops:read among the subscopes of custom:mlops:write")
    assert '"subscopes": ["custom:mlops:read"]' in gap
    (other,) = told(access, "custom:mlops:write", "custom:mlops:read", name="ann", kind="user")
    assert "the user 'ann'" in other
