"""Logged models through the tracker: what runs logged as models, before anybody registers one. See :mod:`.protocol`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from jupyter_mlops.core.logged_model import LoggedModel, LoggedModelStatus, ModelUse
from jupyter_mlops.core.records import DEFAULT_PAGE, Page, Param


class LoggedModels(Protocol):
    """A logged model is a folder of a run's files: who may see the run sees it, who may write to the run may change it,
    and its files are put, read and registered as any others of that run. It is deleted with the run."""

    def create(
        self,
        experiment_id: str,
        *,
        name: str | None = None,
        run_id: str | None = None,
        origin: str = "",
        model_type: str = "",
        params: Sequence[Param] = (),
        tags: Mapping[str, str] | None = None,
        model_id: str | None = None,
    ) -> LoggedModel:
        """Begin a model, which is ``PENDING``: its files go to ``path`` of ``run_id``, a folder that was not there.
        Without a run, one is made for it. ``name``, without ``/`` and ``:``, is made up when absent. ``origin`` says
        what it comes from, where that is no run here. Creating the same ``model_id`` again, of the same run, gives the
        model as it is."""

    def get(self, model_id: str) -> LoggedModel: ...

    def search(
        self,
        experiment_ids: Sequence[str] = (),
        filter: str = "",
        order_by: Sequence[str] = (),
        *,
        limit: int = DEFAULT_PAGE,
        page_token: str | None = None,
    ) -> Page[LoggedModel]:
        """Models of the experiments (of all visible ones when none is given), newest first. MLflow's grammar over their
        attributes, ``params``, ``metrics``, ``tags``, and ``datasets.name`` and ``datasets.digest``, on which their
        metrics were measured."""

    def finish(self, model_id: str, status: LoggedModelStatus | str) -> LoggedModel:
        """Say that its files are all there (``READY``), or did not come (``FAILED``)."""

    def log_params(self, model_id: str, params: Sequence[Param]) -> None:
        """As of a run, a param that was logged stays as it is: another value is refused with ``InvalidValue``."""

    def set_tags(self, model_id: str, tags: Mapping[str, str]) -> None: ...

    def delete_tag(self, model_id: str, key: str) -> None: ...

    def delete(self, model_id: str) -> None:
        """It is not found any more; versions registered from it keep their files. A run that was made for it is deleted
        with it, another one keeps the files."""

    def use(self, run_id: str, uses: Sequence[ModelUse]) -> None:
        """Note which models a run took or made."""

    def uses(self, run_ids: Sequence[str]) -> tuple[ModelUse, ...]:
        """Which models the runs took or made; of those runs that the caller may see."""
