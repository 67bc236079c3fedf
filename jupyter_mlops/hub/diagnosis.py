"""What a hub's configuration lacks for the service, as far as the service can see when it starts.

A hub tells nobody what its roles give. But it tells the owner of a token what that may do; so the service has the role
of all users too, and what it lacks, they lack.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from jupyter_mlops.core.access import Scope
from jupyter_mlops.hub.configuration import GROUPS_SCOPE, hub_config
from jupyter_mlops.hub.scopes import granted, scope_name


def missing(own: Mapping[str, Any], service: str) -> Iterator[str]:
    """One sentence for each thing that is missing, with what to write where.

    Parameters
    ----------
    own
        What the hub answers for the service's own token: the name and kind of its owner, its scopes.
    service
        The name of the service in the hub's configuration.
    """
    kind, name = str(own.get("kind")), str(own["name"])
    if (kind, name) != ("service", service):
        yield (
            f"JUPYTERHUB_API_TOKEN is one of the {kind} {name!r}, with which nobody can log in here; it must be the "
            f"api_token of the service {service!r} in JupyterHub.services"
        )
        return
    scopes = frozenset(map(str, own.get("scopes") or ()))
    role, own_role = hub_config(name=service)["JupyterHub"]["load_roles"]
    where = (
        f"in JupyterHub.load_roles, give it to those who use the service, and list the service there too, which else "
        f"cannot see it: {json.dumps(role)}"
    )
    _, access, write = role["scopes"]
    if not scopes & {access, access.partition("!")[0]}:
        yield f"{access}, without which nobody is let in; {where}"
    everywhere, by_group = granted(scopes)
    if everywhere is Scope.NONE and not by_group:
        yield f"{write} (or custom:mlops:read), without which nobody sees anything; {where}"
    for scope in (Scope.WRITE, Scope.PROMOTE, Scope.ADMIN):
        held, included = scope_name(scope), scope_name(Scope(scope - 1))
        if held in scopes and included not in scopes:
            yield (
                f"{included} among the subscopes of {held}, without which logins are given none of them; in "
                f'JupyterHub.custom_scopes, write "subscopes": ["{included}"] there'
            )
    if GROUPS_SCOPE not in scopes:
        yield (
            f"{GROUPS_SCOPE}, without which requests that no member of a group could approve are not refused at once; "
            f"in JupyterHub.load_roles, add {json.dumps(own_role)}"
        )
