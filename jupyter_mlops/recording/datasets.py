"""Data sets that runs use, described by name, source, schema, digest and number of rows: ``jupyter_mlops.data``.

A digest is the SHA-256 of the whole content, so that equal data have equal digests wherever they came from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import Dataset
from jupyter_mlops.core.values import short
from jupyter_mlops.recording.foreign import is_instance

DEFAULT_NAME = "dataset"
_PIECE = 1 << 20
_COLUMN_TYPES = {
    "int64": "long",
    "uint32": "long",
    "float64": "double",
    "float16": "float",
    "float32": "float",
    "bool": "boolean",
    "boolean": "boolean",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "integer"),
}
_OBJECT_TYPES = {"string": "string", "bytes": "binary", "boolean": "boolean", "integer": "long", "floating": "double"}


def describe(data: Any) -> Dataset:
    """The data set that ``data`` is: a record of one, an object of ``mlflow.data``, a pandas DataFrame, a NumPy array,
    or the path of a file or a folder. ``InvalidValue`` for anything else."""
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | Path):
        return from_file(data)
    if is_instance(data, "pandas", "DataFrame"):
        return from_pandas(data)
    if is_instance(data, "numpy", "ndarray"):
        return from_numpy(data)
    if callable(getattr(data, "to_dict", None)) and hasattr(data, "digest") and hasattr(data, "source"):
        return _from_mlflow(data)
    raise InvalidValue(
        f"a {type(data).__module__}.{type(data).__qualname__} is no data set; give a pandas DataFrame, a NumPy array, "
        "the path of a file or a folder, or what jupyter_mlops.data or mlflow.data makes"
    )


@checked_call
def from_pandas(
    df: Any,
    source: str | Path | None = None,
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
) -> Dataset:
    """A pandas DataFrame as a data set.

    Parameters
    ----------
    df
        The data: rows, columns, their types and the index make the digest.
    source
        Where they come from: a path or a URL.
    targets
        The column to be predicted.
    name
        ``dataset`` when absent.
    digest
        What identifies the content, when it is known already; worked out from the data when absent.

    Raises
    ------
    InvalidValue
        There is no column ``targets``, or the data hold objects that have no hash.
    """
    import pandas as pd

    if not isinstance(df, pd.DataFrame):
        raise InvalidValue(f"from_pandas: expected a DataFrame, found {short(df)} ({type(df).__name__})")
    if targets is not None and targets not in df.columns:
        raise InvalidValue(
            f"from_pandas: there is no column {short(targets)} (targets); columns are {short(list(df.columns))}"
        )
    profile: dict[str, Any] = {"num_rows": len(df), "num_elements": int(df.size)}
    if targets is not None:
        profile["targets"] = targets
    return Dataset(
        name=name or DEFAULT_NAME,
        digest=digest or _frame_digest(df),
        source_type=_source_type(source),
        source=_source(source),
        schema=json.dumps({"mlflow_colspec": [_column(label, df[label]) for label in _unique(df)]}, ensure_ascii=False),
        profile=json.dumps(profile, ensure_ascii=False),
        rows=len(df),
    )


@checked_call
def from_numpy(
    features: Any,
    source: str | Path | None = None,
    targets: Any = None,
    name: str | None = None,
    digest: str | None = None,
) -> Dataset:
    """A NumPy array, or a dict of them, as a data set; rows are along the first axis.

    The parameters are those of :func:`from_pandas`, except that ``targets`` is an array (or a dict of them), too.
    ``InvalidValue`` when something else than arrays is given.
    """
    parts = {
        "features": _arrays(features, "features"),
        "targets": {} if targets is None else _arrays(targets, "targets"),
    }
    first = next(iter(parts["features"].values()), None)
    schema = {part: [_tensor(key, array) for key, array in arrays.items()] or None for part, arrays in parts.items()}
    return Dataset(
        name=name or DEFAULT_NAME,
        digest=digest or _arrays_digest(parts),
        source_type=_source_type(source),
        source=_source(source),
        schema=json.dumps({"mlflow_tensorspec": schema}),
        profile=json.dumps({f"{part}_shape": _shape(arrays) for part, arrays in parts.items() if arrays}),
        rows=int(first.shape[0]) if first is not None and first.ndim else None,
    )


@checked_call
def from_file(path: str | Path, *, name: str | None = None, digest: str | None = None) -> Dataset:
    """A file or a folder as a data set, named for it; the digest is that of its bytes, of a folder over its files'
    paths and digests.

    A URL is accepted together with its ``digest``; ``InvalidValue`` without, and when there is nothing at ``path``.
    """
    text = str(path)
    if "://" in text:
        if digest is None:
            raise InvalidValue(
                f"from_file: {text!r} is not read; give its digest=, or a file or a folder of this machine"
            )
        return Dataset(
            name or text.rstrip("/").rpartition("/")[2] or DEFAULT_NAME, digest, _source_type(text), _source(text)
        )
    file = Path(text).expanduser()
    try:
        exists = file.exists()
    except OSError as error:
        raise InvalidValue(f"from_file: cannot read {short(text, 200)}: {error.strerror}") from error
    if not exists:
        raise InvalidValue(f"from_file: there is no file or folder {short(text, 200)} (from {Path.cwd()})")
    is_folder = file.is_dir()
    if not is_folder and not file.is_file():
        raise InvalidValue(f"from_file: {short(text, 200)} is a pipe or a device; give a file or a folder")
    return Dataset(
        name=name or file.resolve().name or DEFAULT_NAME,
        digest=digest or (_folder_digest(file) if is_folder else _file_digest(file)),
        source_type="local",
        source=str(file.absolute()),
    )


def _from_mlflow(data: Any) -> Dataset:
    fields = data.to_dict()
    rows = None
    if fields.get("profile"):
        profile = json.loads(fields["profile"])
        rows = profile.get("num_rows") if isinstance(profile, dict) else None
    return Dataset(
        name=fields["name"],
        digest=fields["digest"],
        source_type=fields["source_type"],
        source=_source(fields["source"]),
        schema=fields.get("schema"),
        profile=fields.get("profile"),
        rows=rows if type(rows) is int else None,
    )


def _source(source: str | Path | None) -> str:
    from jupyter_mlops.core.redaction import redact_url

    return "" if source is None else redact_url(str(source))


def _source_type(source: str | Path | None) -> str:
    """The word for where data come from: a URL's scheme, ``local``, or ``code`` for what was made by the run itself."""
    if source is None:
        return "code"
    scheme, found, _ = str(source).partition("://")
    return scheme.lower() if found else "local"


def _unique(df: Any) -> list[Any]:
    if not df.columns.is_unique:
        twice = sorted({str(label) for label in df.columns[df.columns.duplicated()]})
        raise InvalidValue(f"from_pandas: there are several columns {twice[0]!r}; give each its own name")
    return list(df.columns)


def _frame_digest(df: Any) -> str:
    import pandas as pd

    total = hashlib.sha256()
    total.update(json.dumps([[str(label), str(df[label].dtype)] for label in _unique(df)]).encode())
    try:
        total.update(pd.util.hash_pandas_object(df.index).to_numpy().tobytes())
        for label in df.columns:
            total.update(pd.util.hash_pandas_object(df[label], index=False).to_numpy().tobytes())
    except TypeError as error:
        raise InvalidValue(
            f"from_pandas: the data hold objects that have no hash ({error}); give a digest=, or the file "
            "they come from"
        ) from error
    return total.hexdigest()


def _column(label: Any, column: Any) -> dict[str, Any]:
    import pandas as pd

    kind = _COLUMN_TYPES.get(str(column.dtype).lower())
    if kind is None and pd.api.types.is_datetime64_any_dtype(column.dtype):
        kind = "datetime"
    if kind is None:
        kind = _OBJECT_TYPES.get(pd.api.types.infer_dtype(column, skipna=True), "any")
    return {"type": kind, "name": str(label), "required": not bool(column.isna().any())}


def _arrays(given: Any, what: str) -> dict[str, Any]:
    arrays = dict(given) if isinstance(given, Mapping) else {"": given}
    for key, array in arrays.items():
        if not is_instance(array, "numpy", "ndarray"):
            raise InvalidValue(
                f"from_numpy: {what}{f' {key!r}' if key else ''} is a {type(array).__qualname__}, not a NumPy array"
            )
        if array.dtype.hasobject:
            raise InvalidValue(f"from_numpy: {what}: an array of Python objects has no digest; give it a dtype")
    return arrays


def _tensor(key: str, array: Any) -> dict[str, Any]:
    shape = [-1, *array.shape[1:]] if array.ndim else []
    spec = {"type": "tensor", "tensor-spec": {"dtype": str(array.dtype), "shape": shape}}
    return {"name": key, **spec} if key else spec


def _shape(arrays: Mapping[str, Any]) -> Any:
    shapes = {key: list(array.shape) for key, array in arrays.items()}
    return shapes.get("", shapes)


def _arrays_digest(parts: Mapping[str, Mapping[str, Any]]) -> str:
    import numpy as np

    total = hashlib.sha256()
    for part, arrays in parts.items():
        for key, array in arrays.items():
            total.update(json.dumps([part, key, array.dtype.str, list(array.shape)]).encode())
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _file_digest(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as source:
        while piece := source.read(_PIECE):
            total.update(piece)
    return total.hexdigest()


def _folder_digest(folder: Path) -> str:
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        if file.is_file():
            total.update(json.dumps([file.relative_to(folder).as_posix(), _file_digest(file)]).encode())
    return total.hexdigest()
