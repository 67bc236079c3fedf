"""What a reviewer needs, gathered in one answer."""

from __future__ import annotations

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import NotFound
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.promotion import Promotion, PromotionEvidence, RunSide
from jupyter_mlops.store.registry import Model
from jupyter_mlops.tracker.embedded._context import Context
from jupyter_mlops.tracker.evidence import compare_runs, notebook_code
from jupyter_mlops.tracker.notebookdiff import compared
from jupyter_mlops.tracker.protocol import Tracker


def evidence(
    context: Context, promotion: Promotion, model: Model, policy: Policy, refused: dict[str, str]
) -> PromotionEvidence:
    """See :meth:`jupyter_mlops.tracker.promoting.Promotions.evidence`."""
    with _tracker(context, model) as tracker:
        candidate = _side(tracker, promotion.model, promotion.version)
        champion = _side(tracker, promotion.model, promotion.champion)
        runs = [side.run for side in (champion, candidate) if side is not None and side.run is not None]
        consumers = tracker.models.consumers(promotion.model)
        comparison = compare_runs(tracker, [run.run_id for run in runs]) if runs else None
        before, after = (
            None if side is None or side.run is None else notebook_code(tracker, side.run.run_id)
            for side in (champion, candidate)
        )
    text, changes = ("", None) if before is None or after is None else compared(before, after)
    return PromotionEvidence(
        promotion=promotion,
        policy=policy,
        candidate=candidate,
        champion=champion,
        comparison=comparison,
        notebook_diff=text,
        notebook_changes=changes,
        lineage=() if candidate is None else _lineage(candidate, promotion),
        consumers=tuple(each for each in consumers if each.reference == f"@{promotion.alias}"),
        refused=refused,
    )


def _tracker(context: Context, model: Model) -> Tracker:
    """The store as it is to be seen here: whoever may decide sees the runs of both versions, which asking has laid open
    to them; others see what they see anyway."""
    from jupyter_mlops.tracker.embedded import EmbeddedTracker

    principal = context.principal
    if principal.scope_on(model.owner) >= Scope.PROMOTE:
        principal = Principal(name=principal.name, groups=principal.groups, scope=Scope.ADMIN, decides=False)
    return EmbeddedTracker(context.store, principal, is_view=True)


def _side(tracker: Tracker, model: str, version: int | None) -> RunSide | None:
    if version is None:
        return None
    try:
        found = tracker.models.version(model, version)
    except NotFound:
        # What an alias pointed at once may be deleted since.
        return None
    try:
        run = None if found.run_id is None else tracker.runs.get(found.run_id)
    except NotFound:
        run = None
    datasets = () if run is None else tuple(each.dataset for each in run.inputs)
    return RunSide(version=found, run=run, datasets=datasets, card=tracker.models.card(model, version).text)


def _lineage(candidate: RunSide, promotion: Promotion) -> tuple[str, ...]:
    data = tuple(f"dataset {dataset.name} ({dataset.digest})" for dataset in candidate.datasets)
    run = candidate.run
    middle: tuple[str, ...] = () if run is None else (f"run {run.name} ({run.run_id})",)
    if run is not None and run.source:
        middle = (f"notebook {run.source}", *middle)
    return (*data, *middle, f"version {promotion.version} ({promotion.digest})", f"alias {promotion.alias}")
