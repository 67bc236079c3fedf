"""Where people see in a browser what programs name by ids."""

from __future__ import annotations

from urllib.parse import quote, urljoin, urlsplit

import msgspec

from jupyter_mlops.core.records import Record


class ServicePage(Record, frozen=True, kw_only=True):
    """The page of a service, where its users look at things, and decide."""

    url: str
    """Ends with a slash. Only its path (``/services/mlops/``) where the service was not told by which name browsers
    reach it."""
    protected: bool
    """Whether code in pages of notebook servers cannot act on it; see ``JupyterHub.subdomain_host``."""

    @property
    def is_public(self) -> bool:
        """Whether it is known by which name browsers reach it."""
        return bool(urlsplit(self.url).netloc)

    def seen_from(self, url: str) -> ServicePage:
        """The page, with the rest of its URL taken from one of the service's own, if it is only a path."""
        return msgspec.structs.replace(self, url=urljoin(url, self.url))

    def of_request(self, request_id: str) -> str:
        """The URL at which a request for promotion is looked at and decided about."""
        return f"{self.url}requests/{request_id}"

    def of_model(self, name: str) -> str:
        """The URL at which a registered model is looked at."""
        return f"{self.url}models/{quote(name, safe='')}"
