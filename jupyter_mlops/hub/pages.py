"""What people see of the service on a hub: its page, and the end of a login."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from types import MappingProxyType

import tornado.web

from jupyter_mlops._version import __version__
from jupyter_mlops.core.access import GROUP_PREFIX, Principal, Scope, default_owner
from jupyter_mlops.core.errors import MLOpsError, NotFound, Unauthenticated
from jupyter_mlops.hub.identity import UNPROTECTED, HubIdentity
from jupyter_mlops.service.app import Route
from jupyter_mlops.service.handlers import ApiHandler, Service
from jupyter_mlops.service.pagefiles import PageFiles

VIEWS = ("experiments", "runs", "compare", "models", "requests")
"""What the paths of views begin with; ``labextension/src/view/address.ts`` reads the rest."""
_FILES = "page/"
_SHELL = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Experiments and models</title>
{styles}
{scripts}
</head>
<body><div id="mlops-page" data-base="{base}"></div></body>
</html>
"""
_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Experiments and models</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }}
code {{ overflow-wrap: anywhere; }}
</style></head>
<body><main>
{content}
<p>jupyter-mlops {version}</p>
</main></body>
</html>
"""


def pages(identity: HubIdentity, service: Service, base: str) -> list[Route]:
    """The routes of people's pages, below ``base``."""
    own = {"identity": identity}
    page = type("PageHandler", (PageHandler, identity.handler_class), own)
    view = type("ViewHandler", (ViewHandler, identity.handler_class), own)
    file = type("PageFileHandler", (PageFileHandler, identity.handler_class), {})
    files = PageFiles()
    return [
        (f"{re.escape(base)}(?:{'|'.join(VIEWS)})(?:/[^/]*)?", view, {"service": service, "files": files}),
        (re.escape(base + _FILES) + "([^/]+)", file, {"service": service, "files": files}),
        (re.escape(base), page, {"service": service}),
        (re.escape(base.rstrip("/")), tornado.web.RedirectHandler, {"url": base, "permanent": False}),
        (re.escape(base + "oauth_callback"), identity.callback_handler, {}),
    ]


class PageHandler(ApiHandler):
    """What this is, who you are here, and where programs ask. Who is not logged in is sent to the hub."""

    scopes = MappingProxyType({"GET": Scope.READ})
    identity: HubIdentity

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Content-Type", "text/html; charset=utf-8")
        # No other page may show this one inside of it, or keep a handle on its window.
        self.set_header("Content-Security-Policy", f"{self.allowed}; frame-ancestors 'none'; base-uri 'none'")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Referrer-Policy", "same-origin")

    @property
    def allowed(self) -> str:
        """What the page may load, in the words of a Content-Security-Policy."""
        return "default-src 'none'; style-src 'unsafe-inline'"

    async def get(self) -> None:
        assert self.principal is not None, "asked before the caller was known"
        await self.finish(_page("Experiments and models", *self._told(self.principal)))

    def _told(self, principal: Principal) -> Iterator[str]:
        yield (
            "This is where the runs of notebooks, their metrics and files, and the models that came out of them are "
            "kept and shared."
        )
        yield f"You are <strong>{escape(principal.name)}</strong>."
        if principal.groups:
            yield f"Your groups: {', '.join(f'<strong>{escape(name)}</strong>' for name in sorted(principal.groups))}."
        owner = default_owner(principal).removeprefix(GROUP_PREFIX)
        yield f"What you create belongs to <strong>{escape(owner)}</strong>, unless you say otherwise."
        url = f"{self.request.protocol}://{self.request.host}{self.identity.hub_auth.base_url}"
        yield f"Programs ask <code>{escape(url)}</code> (<code>MLOPS_TRACKING_URL</code>) with a token of the hub."
        if not self.identity.has_own_host:
            yield escape(UNPROTECTED)

    def refuse(self, error: Exception) -> None:
        if isinstance(error, Unauthenticated):
            self.redirect(self.get_login_url())
        elif isinstance(error, MLOpsError) and not self._headers_written:
            self.set_status(error.http_status)
            self.finish(_page("This page cannot be shown", escape(error.message)))
        else:
            super().refuse(error)


class ViewHandler(PageHandler):
    """The views: what is there before the page's scripts show one."""

    def initialize(self, service: Service, files: PageFiles) -> None:  # type: ignore[override]
        super().initialize(service)
        self._files = files

    @property
    def allowed(self) -> str:
        host = self.request.host
        # Of this host only what the service serves as its page: on a hub without subdomains it is the users' host too.
        own = f"{self.request.protocol}://{host}{self.identity.hub_auth.base_url}{_FILES}"
        socket = f"{'wss' if self.request.protocol == 'https' else 'ws'}://{host}"
        return (
            f"default-src 'none'; script-src {own}; style-src {own} 'unsafe-inline'; font-src {own}; "
            f"img-src {own} blob: data:; connect-src 'self' {socket}"
        )

    async def get(self) -> None:
        manifest = self._files.manifest
        if not manifest.scripts:
            self.set_status(503)
            await self.finish(_page("This page cannot be shown", "The installed package was built without it."))
            return
        base = escape(self.identity.hub_auth.base_url)
        scripts = (f'<script defer src="{base}{_FILES}{name}"></script>' for name in manifest.scripts)
        styles = (f'<link rel="stylesheet" href="{base}{_FILES}{name}">' for name in manifest.styles)
        await self.finish(_SHELL.format(base=base, scripts="\n".join(scripts), styles="\n".join(styles)))


class PageFileHandler(ApiHandler):
    """The page's scripts and styles: the same for everybody, and under a name for ever."""

    scopes = MappingProxyType({"GET": Scope.NONE})

    def initialize(self, service: Service, files: PageFiles) -> None:  # type: ignore[override]
        super().initialize(service)
        self._files = files

    async def get(self, name: str) -> None:
        await self.answered(self._give(name))

    async def _give(self, name: str) -> None:
        found = await self.call(lambda: self._files.find(name))
        if found is None:
            raise NotFound("there is nothing at this URL")
        self.set_header("Content-Type", found.type)
        self.set_header("Cache-Control", "public, max-age=31536000, immutable")
        self.set_header("Vary", "Accept-Encoding")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        if found.compressed is not None and "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            await self.finish(found.compressed)
        else:
            await self.finish(found.content)


def _page(title: str, *paragraphs: str) -> str:
    content = "\n".join([f"<h1>{escape(title)}</h1>", *(f"<p>{paragraph}</p>" for paragraph in paragraphs)])
    return _PAGE.format(content=content, version=escape(__version__))
