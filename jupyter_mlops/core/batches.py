"""A batch as a whole: where the tracker stops trusting its caller."""

from __future__ import annotations

import msgspec

from jupyter_mlops.core.errors import InvalidValue, NotFound
from jupyter_mlops.core.ids import is_id
from jupyter_mlops.core.records import Batch, Dataset, Input, Metric, ModelPoint, Param, Series, Tag
from jupyter_mlops.core.redaction import shown
from jupyter_mlops.core.values import (
    DEEPEST_JSON,
    LARGEST_INT,
    LONGEST_DATASET_DIGEST,
    LONGEST_DATASET_NAME,
    LONGEST_INPUT_CONTEXT,
    LONGEST_PARAM,
    LONGEST_TAG,
    SMALLEST_INT,
    check_key,
    check_text,
    checked_param,
    dataset,
    integer,
    real_number,
    short,
)


def check_batch(batch: Batch) -> None:
    """Refuse a batch that holds what :func:`param`, :func:`metric`, :func:`tag` and :func:`dataset` never give, or two
    values of one parameter."""
    _check_items(batch.metrics, Metric, "metrics")
    _check_items(batch.params, Param, "params")
    _check_items(batch.tags, Tag, "tags")
    _check_items(batch.inputs, Input, "inputs")
    _check_items(batch.series, Series, "series")
    _check_points(batch.metrics)
    texts: dict[str, str] = {}
    _check_keys([item.key for item in batch.params], "parameter")
    for item in batch.params:
        checked_param(item)
        if type(item.redacted) is not bool:
            raise InvalidValue(f"parameter {item.key!r}: redacted is True or False, not {short(item.redacted)}")
        check_json(item.value, f"parameter {item.key!r}")
        if texts.setdefault(item.key, item.text) != item.text:
            first, second = shown(item.key, texts[item.key]), shown(item.key, item.text)
            raise InvalidValue(
                f"parameter {item.key!r} is given twice, as {first} and as {second}; "
                "a run has one value of each parameter"
            )
    _check_tags(batch.tags)
    for use in batch.inputs:
        _check_input(use)
    for series in batch.series:
        _check_series(series)
    _check_items(batch.model_points, ModelPoint, "model_points")
    for measured in batch.model_points:
        _check_measured(measured)


def _check_points(points: tuple[Metric, ...]) -> None:
    _check_keys([point.key for point in points], "metric")
    for point in points:
        # One expression a point: batches of thousands of points pass through here.
        if not (
            type(point.value) is float
            and type(point.step) is int
            and SMALLEST_INT <= point.step <= LARGEST_INT
            and type(point.timestamp) is int
            and 0 <= point.timestamp <= LARGEST_INT
        ):
            raise _bad_point(point)


def _check_measured(measured: ModelPoint) -> None:
    _check_items((measured.metric,), Metric, "a metric of a logged model")
    _check_points((measured.metric,))
    if not is_id(measured.model_id):
        raise NotFound(f"logged model {short(measured.model_id)} does not exist")
    for name, text, longest in (
        ("name", measured.dataset_name, LONGEST_DATASET_NAME),
        ("digest", measured.dataset_digest, LONGEST_DATASET_DIGEST),
    ):
        if type(check_text(text, f"data set: {name}", longest)) is not type(text):
            raise _not_plain(text, f"data set: {name}")


def _check_input(item: Input) -> None:
    used = item.dataset
    if type(used) is not Dataset:
        raise InvalidValue(f"an input has a Dataset, not {short(used)} ({type(used).__name__})")
    for field, plain in msgspec.structs.asdict(dataset(used)).items():
        if type(getattr(used, field)) is not type(plain):
            raise InvalidValue(
                f"data set {short(used.name)}: {field} is given as {type(getattr(used, field)).__name__} and has to be "
                f"{type(plain).__name__}"
            )
    what = f"data set {item.dataset.name!r}"
    if type(check_text(item.context, f"{what}: context", LONGEST_INPUT_CONTEXT)) is not type(item.context):
        raise _not_plain(item.context, f"{what}: context")
    _check_items(item.tags, Tag, f"{what}: tags")
    _check_tags(item.tags)


def _check_series(series: Series) -> None:
    check_key(series.key, "metric")
    for name, content in (("steps", series.steps), ("timestamps", series.timestamps), ("values", series.values)):
        if type(content) is not bytes:
            raise InvalidValue(f"series {series.key!r}: {name} are bytes, not {type(content).__name__}")
        if not content or len(content) % 8 or len(content) != len(series.steps):
            raise InvalidValue(
                f"series {series.key!r}: steps, timestamps and values are arrays of equal length, 8 bytes a number, "
                f"not of {len(series.steps)}, {len(series.timestamps)} and {len(series.values)} bytes"
            )
    # The highest byte of a negative number is 128 or more, wherever this runs.
    if max(series.timestamps[7::8]) > 127:
        raise InvalidValue(f"series {series.key!r}: a timestamp is 0 or later")


def _check_items(items: object, kind: type, what: str) -> None:
    if type(items) is not tuple or not {kind}.issuperset(map(type, items)):
        raise InvalidValue(f"{what}: expected a tuple of {kind.__name__} records, found {short(items)}")


def _check_tags(tags: tuple[Tag, ...]) -> None:
    _check_keys([label.key for label in tags], "tag")
    for label in tags:
        if type(label.value) is not str:
            raise _not_plain(label.value, f"tag {label.key!r}: value")
        check_text(label.value, f"tag {label.key!r}: value", LONGEST_TAG)


def _check_keys(keys: list[str], what: str) -> None:
    for key in {key if type(key) is str else _plain_key(key, what) for key in keys}:
        check_key(key, what)


def _plain_key(key: object, what: str) -> str:
    raise _not_plain(key, f"{what} key")


def _not_plain(value: object, what: str) -> InvalidValue:
    return InvalidValue(f"{what}: expected a string (str itself), found {short(value)} ({type(value).__name__})")


def _bad_point(point: Metric) -> InvalidValue:
    what = f"metric {point.key!r}"
    try:
        integer(point.step, f"{what}: step")
        integer(point.timestamp, f"{what}: timestamp", smallest=0)
        real_number(point.value, what)
    except InvalidValue as error:
        return error
    return InvalidValue(
        f"{what}: value {short(point.value)}, step {short(point.step)} and timestamp {short(point.timestamp)} "
        "must be a float and two integers"
    )


def check_json(value: object, what: str, depth: int = 0) -> None:
    """Refuse what JSON text does not give back as it is."""
    kind = type(value)
    if depth > DEEPEST_JSON:
        raise InvalidValue(f"{what}: lists and dicts are nested deeper than {DEEPEST_JSON} levels")
    if isinstance(value, list) and kind is list:
        for item in value:
            check_json(item, what, depth + 1)
    elif isinstance(value, dict) and kind is dict and all(type(key) is str for key in value):
        for key, item in value.items():
            check_json(key, what)
            check_json(item, what, depth + 1)
    elif isinstance(value, str) and kind is str:
        check_text(value, what, max(LONGEST_PARAM, len(value)))
    elif isinstance(value, int) and kind is int:
        integer(value, what)
    elif value is not None and kind not in (bool, float):
        raise InvalidValue(f"{what}: {short(value)} ({kind.__name__}) is no JSON value")
