"""The tracker of a service, over HTTP: what a kernel, a command or a server on a hub tracks to."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.pages import ServicePage
from jupyter_mlops.tracker.operations import PAGE, PRINCIPAL
from jupyter_mlops.tracker.remote.client import Client, Token
from jupyter_mlops.tracker.remote.files import RemoteArtifacts, RemoteModels
from jupyter_mlops.tracker.remote.nouns import Noun
from jupyter_mlops.tracker.remote.runs import RemoteRuns

if TYPE_CHECKING:
    from jupyter_mlops.tracker import protocol


class RemoteExperiments(Noun):
    """See :class:`jupyter_mlops.tracker.protocol.Experiments`."""

    noun = "experiments"


class RemoteDatasets(Noun):
    """See :class:`jupyter_mlops.tracker.protocol.Datasets`."""

    noun = "datasets"


class RemotePromotions(Noun):
    """See :class:`jupyter_mlops.tracker.promoting.Promotions`."""

    noun = "promotions"


class RemotePolicies(Noun):
    """See :class:`jupyter_mlops.tracker.promoting.Policies`."""

    noun = "policies"


class RemoteChecks(Noun):
    """See :class:`jupyter_mlops.tracker.promoting.Checks`."""

    noun = "checks"


class RemoteWebhooks(Noun):
    """See :class:`jupyter_mlops.tracker.protocol.Webhooks`."""

    noun = "webhooks"


class RemoteLoggedModels(Noun):
    """See :class:`jupyter_mlops.tracker.logged.LoggedModels`."""

    noun = "logged_models"


class RemoteQuotas(Noun):
    """See :class:`jupyter_mlops.tracker.limits.Quotas`."""

    noun = "quotas"


class RemoteRetention(Noun):
    """See :class:`jupyter_mlops.tracker.limits.Retentions`."""

    noun = "retention"


class RemotePeople(Noun):
    """See :class:`jupyter_mlops.tracker.people.People`."""

    noun = "people"


class RemoteAccessTokens(Noun):
    """See :class:`jupyter_mlops.tracker.accesstokens.AccessTokens`."""

    noun = "access_tokens"


class RemoteTracker(Noun):
    """See :class:`jupyter_mlops.tracker.protocol.Tracker`.

    Parameters
    ----------
    url
        The service's, such as ``https://hub.example.org/services/mlops``.
    token
        What it knows the caller by, or what gives that for each call; not sent when None.
    """

    noun = ""

    def __init__(self, url: str, token: Token = None) -> None:
        client = Client(url, token)
        super().__init__(client)
        self.url = client.url
        self.experiments = cast("protocol.Experiments", RemoteExperiments(client))
        self.runs = cast("protocol.Runs", RemoteRuns(client))
        self.artifacts = cast("protocol.Artifacts", RemoteArtifacts(client))
        self.models = cast("protocol.Models", RemoteModels(client))
        self.datasets = cast("protocol.Datasets", RemoteDatasets(client))
        self.promotions = cast("protocol.Promotions", RemotePromotions(client))
        self.policies = cast("protocol.Policies", RemotePolicies(client))
        self.checks = cast("protocol.Checks", RemoteChecks(client))
        self.webhooks = cast("protocol.Webhooks", RemoteWebhooks(client))
        self.logged_models = cast("protocol.LoggedModels", RemoteLoggedModels(client))
        self.quotas = cast("protocol.Quotas", RemoteQuotas(client))
        self.retention = cast("protocol.Retentions", RemoteRetention(client))
        self.people = cast("protocol.People", RemotePeople(client))
        self.access_tokens = cast("protocol.AccessTokens", RemoteAccessTokens(client))

    @cached_property
    def principal(self) -> Principal:
        """Who the service takes the caller for."""
        answer = self._client.send("GET", PRINCIPAL, {}, repeatable=True)
        return self._client.read(answer, Principal)

    def page(self) -> ServicePage | None:
        """See :meth:`jupyter_mlops.tracker.protocol.Tracker.page`."""
        try:
            answer = self._client.send("GET", PAGE, {}, repeatable=True)
        except NotFound:
            # A service of a version that says nothing of it.
            return None
        found: ServicePage | None = self._client.read(answer, cast(Any, ServicePage | None))
        return None if found is None else found.seen_from(f"{self.url}/")

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> RemoteTracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
