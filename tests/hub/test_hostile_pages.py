"""Hostile code in a page of a lead's own notebook server, in a real browser in which the lead is logged in.

It may use whatever a notebook's output may. With a subdomain for each server it decides nothing for others; without, it
can, and the service says so.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
import requests

from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker.operations import OPERATIONS, PREFIX
from jupyter_mlops.tracker.remote import RemoteTracker
from jupyter_mlops.tracker.remote.client import filled
from tests.hub import realhub
from tests.hub.chromium import DOMAIN
from tests.hub.realhub import LEAD, MEMBER, RED, authorization

pytestmark = pytest.mark.slow

MODEL = "to be taken"
VALUES: dict[str, Any] = {
    "to_everyone": True,
    "role": "write",
    "owner": f"group:{RED}",
    "restricted": True,
    "alias": "production",
    "version": 1,
    "reason": "mine now",
    "policy": {"checks": [], "automatic": True},
    "names": [],
    "claim": "0" * 32,
    "result": {"name": "loads", "verdict": "passed", "summary": "fine"},
    "url": "https://receiver.example/",
    "subject": LEAD,
    "quota": {},
    "retention": {"days": 1},
    "to": "group:blue",
}
"""What is asked for, of all that decides for others."""

ATTACK = """
async ({service, socket, own, api, decisions}) => {
  const found = {read: [], own: [], hub: null, frame: null, popup: null, cookie: null, socket: null}
  const soon = (work) => Promise.race([work, new Promise(done => setTimeout(done, 5000, 'nothing'))])
  const cookie = name => (document.cookie.match(new RegExp('(?:^|; )' + name + '=([^;]*)')) || [])[1]
  // A cookie for all below the domain stands beside the service's own.
  const tossed = 'tossed'
  document.cookie = `_xsrf=${tossed}; domain=${location.hostname.split('.').slice(1).join('.')}; path=/services/mlops/`
  for (const {method, path, body} of [{method: 'GET', path: 'principal', body: null}, ...decisions]) {
    const url = `${service}/api/v1/${path}`
    const json = body === null ? undefined : JSON.stringify(body)
    for (const headers of [{'Content-Type': 'application/json', 'X-XSRFToken': tossed}, {}]) {
      try {
        const answer = await fetch(url, {method, headers, body: json, credentials: 'include'})
        found.read.push([method, path, answer.status])
      } catch (refused) { /* Nothing of it can be read. */ }
    }
    if (method !== 'POST') continue
    for (const query of ['', `?_xsrf=${tossed}`]) {
      await fetch(url + query, {method, body: json, mode: 'no-cors', credentials: 'include'})
      navigator.sendBeacon(url + query, new Blob([json], {type: 'text/plain'}))
      for (const enctype of ['text/plain', 'multipart/form-data', 'application/x-www-form-urlencoded']) {
        const frame = document.createElement('iframe')
        frame.name = `frame${document.querySelectorAll('iframe').length}`
        document.body.append(frame)
        const form = document.createElement('form')
        Object.assign(form, {method: 'post', action: url + query, enctype, target: frame.name})
        const fields = enctype === 'text/plain' ? [[json.slice(0, -1) + ',"x":"', '"}']] : Object.entries(body)
        for (const [name, value] of [...fields, ['_xsrf', tossed]]) {
          const field = document.createElement('input')
          Object.assign(field, {type: 'hidden', name, value})
          form.append(field)
        }
        document.body.append(form)
        const loaded = new Promise(done => frame.addEventListener('load', done, {once: true}))
        form.submit()
        await soon(loaded)
      }
    }
  }
  // By way of the own server, which shows its own token.
  for (const {method, path, body} of decisions) {
    const headers = {'Content-Type': 'application/json', 'X-XSRFToken': cookie('_xsrf')}
    const answer = await fetch(`${own}/api/v1/${path}`, {method, headers, body: body && JSON.stringify(body)})
    found.own.push([answer.status, (await answer.json()).error_code])
  }
  // A token of the hub that may do more.
  try {
    found.hub = (await fetch(api, {method: 'POST', credentials: 'include', body: '{}'})).status
  } catch (refused) { /* as it should be */ }
  const frame = document.createElement('iframe')
  const framed = new Promise(done => frame.addEventListener('load', done, {once: true}))
  frame.src = service + '/'
  document.body.append(frame)
  await soon(framed)
  try { found.frame = frame.contentWindow.document.body.innerText } catch (refused) { /* as it should be */ }
  const popup = window.open(service + '/')
  for (let n = 0; n < 50 && !popup.closed; n++) {
    popup.postMessage(JSON.stringify(decisions), '*')
    await new Promise(done => setTimeout(done, 100))
  }
  try {
    found.popup = popup.closed ? 'cut off' : popup.document.body.innerText
  } catch (refused) {
    found.popup = 'held'
  }
  const bare = window.open(service + '/health')
  for (let n = 0; n < 100 && found.cookie === null; n++) {
    await new Promise(done => setTimeout(done, 50))
    try {
      // An empty page of one's own, until the other comes.
      found.cookie = bare.location.href === 'about:blank' ? null : bare.document.cookie
    } catch (refused) {
      found.cookie = 'refused'
    }
  }
  const events = new WebSocket(socket)
  found.socket = await soon(new Promise(done => {
    events.onopen = () => done('open')
    events.onerror = () => done('refused')
  }))
  return found
}
"""

SAME_ADDRESS = """
async ({service, decision}) => {
  const {method, path, body} = decision
  // What is no page of the service can be opened, and tells its cookies to whom is at the same address.
  const source = location.href.startsWith(service) ? window : window.open(service + '/health')
  while (!source.location.href.startsWith(service)) await new Promise(done => setTimeout(done, 50))
  const [, xsrf] = source.document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)
  const headers = {'Content-Type': 'application/json', 'X-XSRFToken': xsrf}
  return (await fetch(`${service}/api/v1/${path}`, {method, headers, body: JSON.stringify(body)})).status
}
"""


class Prey(NamedTuple):
    """What is the lead's own."""

    experiment_id: str
    name: str
    """Of a model."""
    model: str
    """One of the group's, about which something is asked."""
    request_id: str
    job_id: str
    webhook_id: str
    token_id: str


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[realhub.Hub]:
    """A hub with a subdomain for each server, and the lead's server."""
    folder = tmp_path_factory.mktemp("apart")
    with realhub.running(folder, f"sqlite:///{folder / 'mlops.db'}", domain=DOMAIN) as hub:
        hub.start_server(LEAD)
        yield hub
        hub.stop_server(LEAD)


def prey(hub: realhub.Hub) -> Prey:
    with RemoteTracker(hub.direct_url, hub.token(LEAD)) as lead:
        experiment = lead.experiments.create("to be taken", owner=LEAD)
        name = lead.models.create(MODEL, owner=LEAD).name
        hook = lead.webhooks.create("https://receiver.example/", owner=f"group:{RED}")
        token = lead.access_tokens.create("ci", owner=f"group:{RED}").token_id
    with RemoteTracker(hub.direct_url, hub.token(MEMBER)) as member:
        run = member.runs.create(NewRun(experiment_id=member.experiments.ensure("asked about").experiment_id))
        member.artifacts.put(run.run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
        model = member.models.register("asked about", run.run_id, "m").model
        asked = member.promotions.request(model, 1)
    job_id = asked.checks[0].job_id
    return Prey(experiment.experiment_id, name, model, asked.request_id, job_id, hook.webhook_id, token)


def decisions(of: Prey) -> list[dict[str, Any]]:
    """All that decides for others, as requests."""
    made = []
    for operation in OPERATIONS:
        if operation.decides:
            values = VALUES | of._asdict()
            fields = (operation.body if operation.has_body else operation.query).__struct_fields__
            given = {name: values[name] for name in fields if name in values}
            if "model" in given:
                # A thing is of one or the other.
                given.pop("owner", None)
            if operation.id == "promotions.rollback":
                # A version's number there, and an owner elsewhere.
                given.pop("to")
            assert given or not fields, f"say what to ask {operation.id} for"
            path = filled(operation.path, **{name: values[name] for name in operation.in_path})
            body = given if operation.has_body else None
            if given and body is None:
                path += f"?{urlencode({name: str(value).lower() for name, value in given.items()})}"
            made.append({"method": operation.method, "path": path, "body": body})
    return made


def state(hub: realhub.Hub, of: Prey) -> list[Any]:
    with RemoteTracker(hub.direct_url, hub.token(LEAD)) as lead:
        return [
            lead.experiments.get(of.experiment_id),
            lead.experiments.shares(of.experiment_id),
            lead.models.get(of.name),
            lead.models.get(of.model),
            lead.promotions.get(of.request_id),
            lead.policies.history(model=of.model),
            lead.webhooks.list(f"group:{RED}"),
            lead.access_tokens.list(f"group:{RED}"),
        ]


def logged_in(browser: Any, hub: realhub.Hub) -> Any:
    """A page where the lead is logged in, on the service's page and in the own server, and is at the latter."""
    page = browser.new_context().new_page()
    page.goto(hub.service_url + "/")
    page.fill("#username_input", LEAD)
    page.fill("#password_input", realhub.PASSWORD)
    page.click("#login_submit")
    page.wait_for_url(hub.service_url + "/")
    page.get_by_text(f"You are {LEAD}").wait_for()
    (hub.folder / "users" / LEAD / "hello.txt").write_text("hello")
    page.goto(f"{hub.url}/user/{LEAD}/files/hello.txt")
    assert page.inner_text("body") == "hello"
    # One of the server's own pages, in which a notebook's output has as much to say as this test.
    page.goto(f"{hub.url}/user/{LEAD}/tree")
    return page


def test_a_page_of_the_leads_server_decides_nothing(apart: realhub.Hub, browser: Any) -> None:
    taken = prey(apart)
    before = state(apart, taken)
    page = logged_in(browser, apart)
    assert page.evaluate("location.hostname") == f"{LEAD}.{DOMAIN}"
    assert page.evaluate("isSecureContext")
    asked = decisions(taken)
    found = page.evaluate(
        ATTACK,
        {
            "service": apart.service_url,
            "socket": apart.service_url.replace("http", "ws", 1) + "/api/v1/events",
            "own": f"/user/{LEAD}/mlops",
            "api": f"{apart.url}/hub/api/users/{LEAD}/tokens",
            "decisions": asked,
        },
    )
    assert found == {
        "read": [],
        "own": [[403, "PERMISSION_DENIED"]] * len(asked),
        "hub": None,
        "frame": None,
        "popup": "cut off",
        "cookie": "refused",
        "socket": "refused",
    }
    # What frames show is no page of the service.
    assert not [frame for frame in page.frames if f"You are {LEAD}" in frame.inner_text("html")]
    # Nor with the token that the page's kernel has.
    token = json.loads((apart.folder / f"environment-{LEAD}.json").read_text())["JUPYTERHUB_API_TOKEN"]
    for one in asked:
        url = f"{apart.direct_url}/{PREFIX}{one['path']}"
        answer = requests.request(one["method"], url, json=one["body"], headers=authorization(token), timeout=30)
        assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED"), one
    # Links that should end elsewhere.
    visited = page.context.new_page()
    for start in (f"{apart.service_url}/?next={page.url}", f"{apart.service_url}?next=https://evil.example/"):
        visited.goto(start)
        assert visited.evaluate("location.hostname") == f"mlops--service.{DOMAIN}"
    visited.goto(f"{apart.url}/hub/login?next=https://evil.example/")
    assert visited.evaluate("location.hostname").endswith(DOMAIN)
    assert state(apart, taken) == before
    assert "not protected: " not in apart.log

    # The lead was logged in all the time: from the service's own address it would have been done.
    page.context.clear_cookies(name="_xsrf", domain=f".{DOMAIN}")
    unhindered = browser.new_context(bypass_csp=True, storage_state=page.context.storage_state()).new_page()
    unhindered.goto(apart.service_url + "/")
    assert unhindered.evaluate(SAME_ADDRESS, {"service": apart.service_url, "decision": asked[0]}) == 204
    assert state(apart, taken) != before


def test_without_subdomains_it_can_and_the_service_says_so(
    hub: realhub.Hub, lead_server: dict[str, str], browser: Any
) -> None:
    taken = prey(hub)
    page = logged_in(browser, hub)
    assert page.evaluate(SAME_ADDRESS, {"service": hub.service_url, "decision": decisions(taken)[0]}) == 204
    assert "not protected: On this hub" in hub.log
    page.goto(hub.service_url + "/")
    page.get_by_text("Code in a notebook that you open can act here as you.").wait_for()
