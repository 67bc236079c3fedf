"""The service's page on a real hub: paths of views, logins that lead back to them, and what browsers are told."""

from __future__ import annotations

import re

import pytest
import requests

from jupyter_mlops.hub import pagefiles
from jupyter_mlops.hub.pages import NOT_BUILT
from tests.hub import realhub
from tests.hub.realhub import ADMIN, LEAD, MEMBER, OUTSIDER, authorization

pytestmark = pytest.mark.slow

ID = "0123456789abcdef" * 2
VIEWS = ["models", "models/churn%2050%20%25", f"runs/{ID}", f"experiments/{ID}", f"requests/{ID}"]
VIEWS += [f"compare?ids={ID},{ID[::-1]}"]


@pytest.mark.parametrize("path", ["", *VIEWS])
def test_a_login_leads_back_to_the_view(hub: realhub.Hub, path: str) -> None:
    browser = hub.log_in(LEAD, f"/services/mlops/{path}")
    page = browser.get(f"{hub.service_url}/{path}", timeout=30)
    assert (page.status_code, page.url, page.history) == (200, f"{hub.service_url}/{path}", [])
    # Without a login, the way there is the hub's own, and ends here.
    started = requests.get(f"{hub.service_url}/{path}", timeout=30)
    ended = requests.Session()
    ended.cookies.update(started.cookies)
    assert "/hub/login" in started.url
    login = ended.get(f"{hub.service_url}/{path}", timeout=30)
    there = ended.post(login.url, data=realhub.filled_in(login.text, LEAD), timeout=30)
    assert there.url == f"{hub.service_url}/{path}"


def test_it_says_who_is_there_and_what_they_decide(hub: realhub.Hub) -> None:
    told = {
        LEAD: "You may decide about the models of <strong>red</strong>.",
        MEMBER: "You decide for no group",
        OUTSIDER: "You decide for no group",
        ADMIN: "You may decide about all models.",
    }
    for user, sentence in told.items():
        text = hub.log_in(user).get(f"{hub.service_url}/models", timeout=30).text
        assert f"You are <strong>{user}</strong>." in text
        assert sentence in text
        assert ("Your groups: <strong>red</strong>." in text) == (user in (LEAD, MEMBER))
    kernel = authorization(hub.token(LEAD, "access:services!service=mlops", "custom:mlops:write"))
    assert "decides nothing for others" in requests.get(f"{hub.service_url}/", headers=kernel, timeout=30).text


def test_it_runs_nothing_but_its_own_scripts_and_is_shown_in_no_other_page(hub: realhub.Hub) -> None:
    browser = hub.log_in(LEAD)
    nonces = set()
    for path in ("", *VIEWS):
        page = browser.get(f"{hub.service_url}/{path}", timeout=30)
        policy = dict(each.strip().split(" ", 1) for each in page.headers["Content-Security-Policy"].split(";"))
        assert {policy[each] for each in ("default-src", "frame-ancestors", "base-uri", "form-action")} == {"'none'"}
        nonce = re.fullmatch(r"'nonce-([\w-]{20,})' 'strict-dynamic'", policy["script-src"])
        assert nonce is not None
        nonces.add(nonce[1])
        assert "unsafe-eval" not in page.headers["Content-Security-Policy"]
        assert page.headers["X-Frame-Options"] == "DENY"
        assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert page.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert page.headers["Cache-Control"] == "no-store"
        scripts = re.findall(r"<script[^>]*>", page.text)
        assert all(f' nonce="{nonce[1]}" defer src="/services/mlops/page/' in each for each in scripts)
        assert 'data-base="/services/mlops/" data-hub="/hub/" data-notice="On this hub' in page.text
    assert len(nonces) == 1 + len(VIEWS)


def test_its_scripts_are_there_or_it_says_why_not(hub: realhub.Hub) -> None:
    text = hub.log_in(LEAD).get(f"{hub.service_url}/models", timeout=30).text
    built = pagefiles.manifest()
    assert (NOT_BUILT in text) == (built is None)
    loaded = re.findall(r'(?:src|href)="(/services/mlops/page/[^"]+)"', text)
    assert len(loaded) == (0 if built is None else len(built.scripts) + len(built.styles))
    for url in loaded:
        answer = requests.get(hub.url + url, timeout=30)
        assert answer.headers["Content-Type"].startswith(("text/javascript", "text/css"))
        assert answer.headers["Cache-Control"].endswith("immutable")


def test_other_paths_are_not_there(hub: realhub.Hub) -> None:
    browser = hub.log_in(LEAD)
    for path in ("runs", "runs/a/b", "modelsx", "page/", "page/manifest.json", "page/..%2Fhandlers.py", "page/%00.js"):
        answer = browser.get(f"{hub.service_url}/{path}", timeout=30)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/json"), path


def test_where_the_page_is(hub: realhub.Hub) -> None:
    told = requests.get(hub.api + "page", headers=authorization(hub.token(MEMBER)), timeout=30).json()
    # The hub was not told by which name browsers reach it.
    assert told == {"url": "/services/mlops/", "protected": False}
    assert requests.get(hub.api + "page", timeout=30, allow_redirects=False).status_code == 401
