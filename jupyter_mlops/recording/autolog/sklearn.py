"""Autologging for scikit-learn: one record a fit that user code calls.

Fits that scikit-learn itself calls (the steps of a pipeline, the candidates of a search, cross-validation) belong to
the one that the user called. Names of metrics and tags are those of MLflow's autologging.
"""

from __future__ import annotations

import csv
import functools
import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, MethodType
from typing import Any

from jupyter_mlops.core import values
from jupyter_mlops.core.records import Batch, Metric, Param, Tag
from jupyter_mlops.recording import model_formats
from jupyter_mlops.recording.autolog.harmless import Harmless
from jupyter_mlops.recording.autolog.options import Hooks, Options
from jupyter_mlops.recording.entities import ActiveRun
from jupyter_mlops.recording.models import log_model
from jupyter_mlops.recording.session import Session, current

_CALLS_FITS_ITSELF = frozenset({"sklearn", "joblib", "imblearn"})
_PLAIN = (bool, int, float, str, type(None))
_SIGNATURE_ROWS = 5


def install(options: Options) -> Hooks:
    """Have ``fit`` of all predictors logged: of the classes there are, and of those that are defined later."""
    from sklearn.base import BaseEstimator

    hooks = Hooks()
    logger = _FitLogger(options)

    def watch(cls: Any) -> None:
        fit = cls.__dict__.get("fit")
        if isinstance(fit, FunctionType):
            watched = cls.fit = _WatchedFit(fit, logger)
            hooks.add(lambda: setattr(cls, "fit", fit) if cls.__dict__.get("fit") is watched else None)

    for cls in _subclasses(BaseEstimator):
        watch(cls)

    def init_subclass(cls: Any, /, **kwargs: Any) -> None:
        super(BaseEstimator, cls).__init_subclass__(**kwargs)
        watch(cls)

    BaseEstimator.__init_subclass__ = classmethod(init_subclass)
    hooks.add(lambda: delattr(BaseEstimator, "__init_subclass__"))
    return hooks


def _subclasses(cls: type) -> set[type]:
    below: set[type] = set(cls.__subclasses__())
    return below.union(*(_subclasses(one) for one in below))


class _WatchedFit:
    """A method ``fit`` that is logged. Pickled (with its class, for worker processes), it is the bare method again."""

    def __init__(self, fit: FunctionType, logger: _FitLogger) -> None:
        functools.update_wrapper(self, fit)
        self._fit = fit
        self._logger = logger

    def __get__(self, estimator: Any, cls: type | None = None) -> Any:
        # Asked of the class it is the bare function: scikit-learn reads the signature of nothing else.
        return self._fit if estimator is None else MethodType(self, estimator)

    def __call__(self, estimator: Any, *args: Any, **kwargs: Any) -> Any:
        caller = str(sys._getframe(1).f_globals.get("__name__", ""))
        return self._logger.call(self._fit, estimator, args, kwargs, caller.partition(".")[0])

    def __reduce__(self) -> Any:
        return _same, (self._fit,)


def _same(fit: FunctionType) -> FunctionType:
    return fit


class _FitLogger:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._harmless = Harmless(silent=options.silent)
        self._inside = threading.local()
        self._logged_to: set[str] = set()

    def call(self, fit: Callable[..., Any], estimator: Any, args: Any, kwargs: Any, caller: str) -> Any:
        """Fit the estimator, for code of the package ``caller``."""
        if caller in _CALLS_FITS_ITSELF or getattr(self._inside, "fit", False) or not hasattr(estimator, "predict"):
            return fit(estimator, *args, **kwargs)
        self._inside.fit = True
        try:
            return self._logged(fit, estimator, args, kwargs)
        finally:
            self._inside.fit = False

    def _logged(self, fit: Callable[..., Any], estimator: Any, args: Any, kwargs: Any) -> Any:
        with self._run() as run:
            if run is not None:
                with self._harmless("parameters"):
                    current().log(run.run_id, Batch(params=_params(estimator), tags=_tags(estimator)))
            fitted = fit(estimator, *args, **kwargs)
            if run is not None:
                data = args[0] if args else kwargs.get("X")
                target = args[1] if len(args) > 1 else kwargs.get("y")
                with self._harmless("training metrics"):
                    current().log_metrics(run.run_id, _training_metrics(estimator, data, target))
                if hasattr(estimator, "cv_results_"):
                    with self._harmless("the results of the search"):
                        _log_search(current(), run.run_id, estimator)
                if self._options.log_models:
                    with self._harmless("the model"):
                        self._log_model(estimator, data)
            return fitted

    @contextmanager
    def _run(self) -> Iterator[ActiveRun | None]:
        """The run that a fit is logged to, active inside: the active one for its first fit, else a new one, which ends
        with the fit. None when there is trouble."""
        run, own = None, False
        with self._harmless("the fit"):
            session = current()
            run = session.active
            if run is None or run.run_id in self._logged_to:
                run, own = session.start_run(nested=True), True
            self._logged_to.add(run.run_id)
        if run is None or not own:
            yield run
        else:
            with run:
                yield run

    def _log_model(self, estimator: Any, data: Any) -> None:
        rows = data[:_SIGNATURE_ROWS] if hasattr(data, "shape") or isinstance(data, list) else None
        if rows is not None and self._options.log_input_examples:
            log_model(estimator, input_example=rows)
        elif rows is not None and self._options.log_model_signatures:
            log_model(estimator, signature=model_formats.infer_signature(rows, estimator.predict(rows)))
        else:
            log_model(estimator)


def _tags(estimator: Any) -> tuple[Tag, ...]:
    cls = type(estimator)
    return (Tag("estimator_name", cls.__name__), Tag("estimator_class", f"{cls.__module__}.{cls.__name__}"))


def _params(estimator: Any) -> tuple[Param, ...]:
    """The hyper-parameters that are plain values, those of steps and inner estimators included."""
    return tuple(
        values.param(key, value)
        for key, value in estimator.get_params(deep=True).items()
        if _is_plain(value) and len(str(value)) <= values.LONGEST_PARAM and len(key) <= values.LONGEST_KEY
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    return isinstance(value, _PLAIN) or type(value).__module__ == "numpy"


def _training_metrics(estimator: Any, data: Any, target: Any) -> tuple[Metric, ...]:
    """How well the model fits what it was fitted to."""
    found: dict[str, Any] = {}
    if target is not None and hasattr(estimator, "score"):
        found["training_score"] = estimator.score(data, target)
    kind = _kind(estimator)
    if target is not None and kind in ("classifier", "regressor"):
        predicted = estimator.predict(data)
        if kind == "classifier":
            found.update(_classification(estimator, data, target, predicted))
        else:
            found.update(_regression(target, predicted))
    return tuple(values.metric(key, value) for key, value in found.items())


def _kind(estimator: Any) -> str | None:
    from sklearn.base import is_classifier, is_regressor

    return "classifier" if is_classifier(estimator) else "regressor" if is_regressor(estimator) else None


def _classification(estimator: Any, data: Any, target: Any, predicted: Any) -> dict[str, Any]:
    from sklearn import metrics

    averaged = {"average": "weighted", "zero_division": 0}
    found = {
        "training_accuracy_score": metrics.accuracy_score(target, predicted),
        "training_precision_score": metrics.precision_score(target, predicted, **averaged),
        "training_recall_score": metrics.recall_score(target, predicted, **averaged),
        "training_f1_score": metrics.f1_score(target, predicted, **averaged),
    }
    if hasattr(estimator, "predict_proba"):
        probabilities = estimator.predict_proba(data)
        if getattr(probabilities, "ndim", 0) == 2:
            found["training_log_loss"] = metrics.log_loss(target, probabilities, labels=estimator.classes_)
            scores = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities
            found["training_roc_auc"] = metrics.roc_auc_score(target, scores, average="weighted", multi_class="ovo")
    return found


def _regression(target: Any, predicted: Any) -> dict[str, Any]:
    from sklearn import metrics

    squared = metrics.mean_squared_error(target, predicted)
    return {
        "training_mean_squared_error": squared,
        "training_root_mean_squared_error": squared**0.5,
        "training_mean_absolute_error": metrics.mean_absolute_error(target, predicted),
        "training_r2_score": metrics.r2_score(target, predicted),
    }


def _log_search(session: Session, run_id: str, search: Any) -> None:
    """The best candidate of a search, and a table of all."""
    if hasattr(search, "best_params_"):
        best = tuple(values.param(f"best_{key}", value) for key, value in search.best_params_.items())
        session.log(run_id, Batch(params=best))
    if hasattr(search, "best_score_"):
        session.log_metrics(run_id, (values.metric("best_cv_score", search.best_score_),))
    results = {key: column for key, column in search.cv_results_.items() if key != "params"}
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(results)
    writer.writerows(zip(*results.values(), strict=True))
    content = text.getvalue().encode()
    session.delivery.put_file(run_id, "cv_results.csv", lambda place: place.write_bytes(content))
