"""Who callers are and what they may do, on a real hub: tokens, logins, and what pretends to be one."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.tracker import wire
from tests.hub import realhub
from tests.hub.realhub import ADMIN, BLUE, HUB_ADMIN, LEAD, MEMBER, OTHER, OUTSIDER, RED, authorization, until

pytestmark = pytest.mark.slow

KERNEL = ("access:services!service=mlops", "custom:mlops:write")


def ask(hub: realhub.Hub, token: str | None, **headers: str) -> requests.Response:
    given = {} if token is None else authorization(token)
    return requests.get(hub.api + "principal", headers=given | headers, timeout=30, allow_redirects=False)


def principal(answer: requests.Response) -> Principal:
    assert answer.status_code == 200, answer.text
    return wire.decode(answer.content, wire.JSON, Principal)


def refused(answer: requests.Response, status: int, error_code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error_code"] == error_code


def test_users_groups_and_scopes_are_the_hubs(hub: realhub.Hub) -> None:
    red = frozenset({RED})
    assert principal(ask(hub, hub.token(MEMBER))) == Principal(MEMBER, red, Scope.WRITE, decides=False)
    lead = Principal(LEAD, red, Scope.WRITE, group_scopes=((RED, Scope.PROMOTE),))
    assert principal(ask(hub, hub.token(LEAD))) == lead
    assert principal(ask(hub, hub.token(OTHER))).groups == {BLUE}
    assert principal(ask(hub, hub.token(OUTSIDER))) == Principal(OUTSIDER, scope=Scope.WRITE, decides=False)
    assert principal(ask(hub, hub.token(ADMIN))).scope is Scope.ADMIN
    # Who administers the hub administers no experiments by that.
    assert principal(ask(hub, hub.token(HUB_ADMIN))).scope is Scope.WRITE
    assert principal(ask(hub, hub.token(LEAD, *KERNEL))).decides is False
    reader = principal(ask(hub, hub.token(LEAD, KERNEL[0], "custom:mlops:read")))
    assert (reader.scope, reader.group_scopes) == (Scope.READ, ())
    service = Principal("service:ci", scope=Scope.NONE, group_scopes=((RED, Scope.WRITE),), decides=False)
    assert principal(ask(hub, hub.ci_token)) == service


def test_a_services_token_works_on_its_groups_things_only(hub: realhub.Hub) -> None:
    def create(owner: str | None) -> int:
        body = {"name": "nightly", "owner": owner}
        answer = requests.post(hub.api + "experiments", json=body, headers=authorization(hub.ci_token), timeout=30)
        return answer.status_code

    assert create("group:red") == 200
    assert create("group:blue") == 403
    assert create(None) == 403


def test_both_words_for_a_token_count(hub: realhub.Hub) -> None:
    token = hub.token(MEMBER)
    for word in ("token", "Bearer", "bearer"):
        assert principal(ask(hub, None, Authorization=f"{word} {token}")).name == MEMBER


def test_without_a_credential_that_counts_the_api_answers_401_in_json(hub: realhub.Hub) -> None:
    for token in (None, "none-of-the-hubs", hub.token(MEMBER)[:-1]):
        refused(ask(hub, token), 401, "UNAUTHENTICATED")
    refused(ask(hub, None, Authorization="Basic YW5uOmFubg=="), 401, "UNAUTHENTICATED")
    refused(requests.get(f"{hub.api}principal?token={hub.token(MEMBER)}", timeout=30), 401, "UNAUTHENTICATED")
    for path in ("principal", "nothing/here", "experiments/x", "events"):
        answer = requests.get(hub.api + path, timeout=30, allow_redirects=False)
        assert answer.status_code in (401, 404)
        assert answer.headers["Content-Type"] == "application/json"


def test_a_token_without_the_scopes_is_refused(hub: realhub.Hub) -> None:
    refused(ask(hub, hub.token(MEMBER, "read:users:name!user=ann")), 403, "PERMISSION_DENIED")
    refused(ask(hub, hub.token(MEMBER, KERNEL[0])), 403, "PERMISSION_DENIED")
    refused(ask(hub, hub.token(MEMBER, "custom:mlops:write")), 403, "PERMISSION_DENIED")
    reader = hub.token(MEMBER, KERNEL[0], "custom:mlops:read")
    body = {"name": "not for readers"}
    answer = requests.post(hub.api + "experiments", json=body, headers=authorization(reader), timeout=30)
    refused(answer, 403, "PERMISSION_DENIED")


def test_revoked_tokens_and_changed_groups_count_soon(hub: realhub.Hub) -> None:
    token = hub.token(OUTSIDER)
    assert principal(ask(hub, token)).groups == frozenset()
    hub.ask("POST", "groups/blue/users", json={"users": [OUTSIDER]})
    try:
        until(lambda: principal(ask(hub, token)).groups == {BLUE}, "the new group counts", 20)
    finally:
        hub.ask("DELETE", "groups/blue/users", json={"users": [OUTSIDER]})
    until(lambda: principal(ask(hub, token)).groups == frozenset(), "the group is left", 20)
    hub.revoke(OUTSIDER, token)
    until(lambda: ask(hub, token).status_code == 401, "the token is revoked", 20)


def test_who_decides_is_asked_about_anew(hub: realhub.Hub) -> None:
    experiment = requests.post(
        hub.api + "experiments", json={"name": "to be shared"}, headers=authorization(hub.token(LEAD)), timeout=30
    ).json()

    def reads_on() -> bool:
        made = hub.ask("POST", f"users/{LEAD}/tokens", json={}).json()
        given = authorization(made["token"])

        def share() -> requests.Response:
            url = f"{hub.api}experiments/{experiment['experiment_id']}/shares"
            return requests.post(url, json={"to_user": OTHER, "role": "read"}, headers=given, timeout=30)

        assert share().status_code < 300
        assert ask(hub, made["token"]).status_code == 200
        hub.ask("DELETE", f"users/{LEAD}/tokens/{made['id']}")
        refused(share(), 401, "UNAUTHENTICATED")
        return ask(hub, made["token"]).status_code == 200

    # On a machine that is busy the hub's answer may be forgotten before it is asked for again.
    until(reads_on, "what the hub said a moment ago is remembered for reading", 60)
    browser = hub.log_in(LEAD)
    url = f"{hub.api}experiments/{experiment['experiment_id']}/shares"
    browser.headers["Origin"] = hub.url
    assert browser.post(url, json={"to_user": MEMBER, "role": "read"}, timeout=30).status_code < 300


def test_a_login_in_the_browser(hub: realhub.Hub) -> None:
    browser = hub.log_in(LEAD)
    page = browser.get(hub.service_url, timeout=30)
    assert page.url == hub.service_url + "/"
    assert "<strong>bea</strong>" in page.text
    assert "can act here as you" in page.text
    assert hub.service_url in page.text
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    logged_in = wire.decode(browser.get(hub.api + "principal", timeout=30).content, wire.JSON, Principal)
    assert (logged_in.name, logged_in.decides) == (LEAD, True)
    # A login on the page decides for others; the scopes are the user's own all the same.
    plain = hub.log_in(MEMBER).get(hub.api + "principal", timeout=30)
    assert (principal(plain).scope, principal(plain).decides) == (Scope.WRITE, True)
    assert browser.post(hub.api + "experiments/ensure", json={"name": "by hand"}, timeout=30).status_code == 200


def test_a_login_ends_on_the_services_own_page(hub: realhub.Hub) -> None:
    for start in ("/services/mlops/?next=https://evil.example/", "/services/mlops/?next=//evil.example"):
        browser = hub.log_in(MEMBER, start)
        answer = browser.get(hub.url + start, timeout=30)
        assert all(urlsplit(each.url).netloc == urlsplit(hub.url).netloc for each in [*answer.history, answer])
    # A state that somebody made up, signed by somebody else, or not at all.
    made_up = "WyJub25jZSIsICJodHRwczovL2V2aWwuZXhhbXBsZSIsICIiXQ"
    for state in ("", made_up, f"{made_up}.{'0' * 64}", "%ff.%ff"):
        answer = browser.get(
            f"{hub.service_url}/oauth_callback?code=x&state={state}", timeout=30, allow_redirects=False
        )
        assert "evil" not in answer.headers.get("Location", "")


def test_cookies_without_the_token_of_the_page_change_nothing(hub: realhub.Hub) -> None:
    browser = hub.log_in(MEMBER)
    xsrf = str(browser.headers.pop("X-XSRFToken"))
    url, body = hub.api + "experiments", {"name": "forged"}
    refused(browser.post(url, json=body, timeout=30), 401, "UNAUTHENTICATED")
    refused(
        browser.post(url, json=body, headers={"X-XSRFToken": xsrf[:-4] + "aaaa"}, timeout=30), 401, "UNAUTHENTICATED"
    )
    own = {"X-XSRFToken": xsrf}
    for kind in ("application/x-www-form-urlencoded", "text/plain"):
        answer = browser.post(url, data=json.dumps(body), headers=own | {"Content-Type": kind}, timeout=30)
        refused(answer, 400, "INVALID_PARAMETER_VALUE")
    refused(browser.post(url, data={"name": "forged", "_xsrf": xsrf}, timeout=30), 400, "INVALID_PARAMETER_VALUE")
    refused(browser.post(url, files={"name": "forged"}, headers=own, timeout=30), 400, "INVALID_PARAMETER_VALUE")
    foreign = {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}
    for headers in foreign:
        refused(browser.post(url, json=body, headers=own | headers, timeout=30), 403, "PERMISSION_DENIED")
        refused(browser.get(hub.api + "principal", headers=headers, timeout=30), 403, "PERMISSION_DENIED")
    found = browser.post(hub.api + "search/experiments", json={}, headers=own, timeout=30)
    assert "forged" not in found.text
    # No page of another site may read an answer.
    assert not [name for name in found.headers if name.lower().startswith("access-control-")]
    assert browser.post(url, json={"name": "not forged"}, headers=own | {"Origin": hub.url}, timeout=30).ok


def test_a_cookie_does_not_stand_in_for_a_bad_token(hub: realhub.Hub) -> None:
    browser = hub.log_in(MEMBER)
    answer = browser.get(hub.api + "principal", headers=authorization("revoked"), timeout=30)
    refused(answer, 401, "UNAUTHENTICATED")


def test_a_kernel_reaches_the_service_with_nothing_to_configure(
    lead_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_mlops.tracker.connect import connect

    for name in ("MLOPS_TRACKING_URL", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.setenv(name, lead_server[name])
    monkeypatch.delenv("MLOPS_TRACKING_TOKEN", raising=False)
    with connect() as tracker:
        assert tracker.experiments.ensure("from a kernel").owner == f"group:{RED}"


def test_a_kernel_decides_nothing_and_cannot_get_more(hub: realhub.Hub, lead_server: dict[str, str]) -> None:
    token = lead_server["JUPYTERHUB_API_TOKEN"]
    kernel = principal(ask(hub, token))
    assert kernel == Principal(LEAD, frozenset({RED}), Scope.WRITE, decides=False)
    # It cannot make a token that may do more, nor log in on the page with its own.
    wanted = {"scopes": ["custom:mlops:promote!group=red"]}
    api = f"{hub.url}/hub/api/users/{LEAD}/tokens"
    assert requests.post(api, json=wanted, headers=authorization(token), timeout=30).status_code in (403, 404)
    page = requests.get(hub.service_url + "/", timeout=30, allow_redirects=False)
    login = urlsplit(page.headers["Location"])
    assert parse_qs(login.query)["client_id"] == ["service-mlops"]
    answer = requests.get(
        f"{hub.url}{login.path}?{login.query}",
        headers=authorization(token),
        cookies=page.cookies,
        timeout=30,
        allow_redirects=False,
    )
    assert "code=" not in answer.headers.get("Location", "")
    assert answer.status_code == 403 or "/hub/login" in answer.headers["Location"]
