"""What people see of the service on a hub: its page, and the end of a login."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from html import escape
from types import MappingProxyType

import tornado.web

from jupyter_mlops._version import __version__
from jupyter_mlops.core.access import GROUP_PREFIX, Principal, Scope, default_owner, owners_reached
from jupyter_mlops.core.errors import MLOpsError, Unauthenticated
from jupyter_mlops.hub.identity import UNPROTECTED, HubIdentity
from jupyter_mlops.hub.pagefiles import PLACE, Manifest, PageFileHandler, manifest
from jupyter_mlops.service.app import Route
from jupyter_mlops.service.handlers import ApiHandler, Service

VIEWS = "models|compare|tokens|(?:runs|experiments|models|requests)/[^/]+"
"""The paths of views, below the service's own URL."""

NOT_BUILT = (
    "The views of this page are not part of this installation, which was made from sources without building them: "
    "install a wheel, or build them with make panel. The commands jupyter mlops show the same."
)

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Experiments and models</title>
<style>
#mlops-page > main {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }}
code {{ overflow-wrap: anywhere; }}
</style>
{loading}</head>
<body><div id="mlops-page"{told}><main>
{content}
<p>jupyter-mlops {version}</p>
</main></div></body>
</html>
"""


def pages(identity: HubIdentity, service: Service, base: str) -> list[Route]:
    """The routes of people's pages, below ``base``."""
    page = type("PageHandler", (PageHandler, identity.handler_class), {"identity": identity})
    file = type("PageFileHandler", (PageFileHandler, identity.handler_class), {})
    return [
        (re.escape(base), page, {"service": service}),
        (f"{re.escape(base)}(?:{VIEWS})", page, {"service": service}),
        (f"{re.escape(base + PLACE)}([^/]+)", file, {"service": service}),
        (re.escape(base.rstrip("/")), tornado.web.RedirectHandler, {"url": base, "permanent": False}),
        (re.escape(base + "oauth_callback"), identity.callback_handler, {}),
    ]


class PageHandler(ApiHandler):
    """The document that the views are shown in, whichever of them the path names: the scripts read it. Without them it
    says what this is, who you are here, and where programs ask. Who is not logged in is sent to the hub, and back."""

    scopes = MappingProxyType({"GET": Scope.READ})
    identity: HubIdentity

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.nonce = secrets.token_urlsafe(16)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        # Scripts: what this answer names, and what that loads; no markup that gets into the page brings others. Styles
        # are set by JupyterLab's components. No other page may show this one inside of it.
        self.set_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'nonce-{self.nonce}' 'strict-dynamic'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' blob: data:; font-src 'self' data:; connect-src 'self'; form-action 'none'; "
            "frame-ancestors 'none'; base-uri 'none'",
        )
        self.set_header("X-Frame-Options", "DENY")
        # Nor keep a handle on its window.
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Referrer-Policy", "same-origin")

    async def get(self) -> None:
        assert self.principal is not None, "asked before the caller was known"
        built = manifest()
        content = _content("Experiments and models", *self._told(self.principal, built))
        await self.finish(
            _PAGE.format(
                loading="" if built is None else self._loading(built),
                told=self._attributes(),
                content=content,
                version=escape(__version__),
            )
        )

    def _loading(self, built: Manifest) -> str:
        place = escape(self._base + PLACE)
        styles = [f'<link rel="stylesheet" href="{place}{escape(name)}">\n' for name in built.styles]
        opening = f'<script nonce="{self.nonce}" defer src="{place}'
        scripts = [f'{opening}{escape(name)}"></script>\n' for name in built.scripts]
        return "".join([*styles, *scripts])

    def _attributes(self) -> str:
        """What the scripts are told: where they are, where the hub is, and what is not protected."""
        auth = self.identity.hub_auth
        told = {"base": self._base, "hub": f"{auth.hub_host}{auth.hub_prefix}"}
        if not self.identity.has_own_host:
            told["notice"] = UNPROTECTED
        return "".join(f' data-{name}="{escape(value)}"' for name, value in told.items())

    @property
    def _base(self) -> str:
        return str(self.identity.hub_auth.base_url)

    def _told(self, principal: Principal, built: Manifest | None) -> Iterator[str]:
        yield (
            "This is where the runs of notebooks, their metrics and files, and the models that came out of them are "
            "kept and shared."
        )
        if built is None:
            yield NOT_BUILT
        yield f"You are <strong>{escape(principal.name)}</strong>."
        if principal.groups:
            yield f"Your groups: {_listed(principal.groups)}."
        owner = default_owner(principal).removeprefix(GROUP_PREFIX)
        yield f"What you create belongs to <strong>{escape(owner)}</strong>, unless you say otherwise."
        yield self._decisions(principal)
        url = f"{self.request.protocol}://{self.request.host}{self._base}"
        yield f"Programs ask <code>{escape(url)}</code> (<code>MLOPS_TRACKING_URL</code>) with a token of the hub."
        if not self.identity.has_own_host:
            yield escape(UNPROTECTED)

    def _decisions(self, principal: Principal) -> str:
        if not principal.decides:
            return "The token that you show decides nothing for others."
        owners = owners_reached(principal, Scope.PROMOTE)
        if owners is None:
            return "You may decide about all models."
        groups = [owner.removeprefix(GROUP_PREFIX) for owner in owners if owner.startswith(GROUP_PREFIX)]
        if not groups:
            return "You decide for no group: what you ask for, others approve."
        return f"You may decide about the models of {_listed(groups)}."

    def refuse(self, error: Exception) -> None:
        if isinstance(error, Unauthenticated):
            self.redirect(self.get_login_url())
        elif isinstance(error, MLOpsError) and not self._headers_written:
            self.set_status(error.http_status)
            content = _content("This page cannot be shown", escape(error.public or error.message))
            self.finish(_PAGE.format(loading="", told="", content=content, version=escape(__version__)))
        else:
            super().refuse(error)


def _listed(names: frozenset[str] | list[str]) -> str:
    return ", ".join(f"<strong>{escape(name)}</strong>" for name in sorted(names))


def _content(title: str, *paragraphs: str) -> str:
    return "\n".join([f"<h1>{escape(title)}</h1>", *(f"<p>{paragraph}</p>" for paragraph in paragraphs)])
