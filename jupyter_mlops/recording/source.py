"""The notebook that is to be run: its bytes, its kernel and language, the parameters it declares, and a copy to execute
with parameters injected. The file itself is only read."""

from __future__ import annotations

import codecs
import functools
import json
import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from jupyter_mlops.core.errors import NotebookError
from jupyter_mlops.core.parameters import Declared, check, declared
from jupyter_mlops.core.records import Json

DEFAULT_KERNEL = "python3"
PARAMETERS_TAG = "parameters"
INJECTED_TAG = "injected-parameters"
_LONGEST_REMEMBERED = 1 << 20
"""Bytes or characters of a notebook that is kept in memory for the next point of a sweep."""
_NOTHING = msgspec.Raw(b"[]")


class Source(msgspec.Struct, frozen=True):
    """A notebook file as it was read."""

    path: str
    content: bytes
    """The file's exact bytes."""
    kernel: str
    """The kernel its metadata names; ``python3`` when they name none."""
    language: str
    """As the metadata write it; ``python`` when they name none."""
    declared: tuple[Declared, ...] | None
    """What its ``parameters`` cell declares; None when the cell is in a language whose parameters cannot be read."""
    cells: tuple[str, ...]
    """The text of each cell."""
    parameters_cell: int | None
    """Which of them declares the parameters, from 0; None when none does."""

    def check(self, given: Mapping[str, Json]) -> None:
        """Raise ``UnknownParameter`` or ``ParameterTypeError`` unless ``given`` fits what the notebook declares."""
        check(self.declared, given)


def read_source(path: Path | str) -> Source:
    """Read a notebook of any format version.

    Raises
    ------
    NotebookError
        There is no such file, or it is not a notebook.
    """
    path = Path(path)
    if "\0" in str(path):
        raise NotebookError(f"no notebook is called {str(path)!r}")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise NotebookError(f"the path {str(path)!r} is not in UTF-8, and no record can name it; rename it") from None
    try:
        if not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode)):
            # It is read more than once.
            raise NotebookError(f"{str(path)!r} is a pipe or a device; name a notebook file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotebookError(f"there is no notebook {str(path)!r}") from None
    except IsADirectoryError:
        raise NotebookError(f"{str(path)!r} is a folder; name a notebook file in it") from None
    except OSError as error:
        raise NotebookError(f"the notebook {str(path)!r} cannot be read: {error.strerror}") from error
    return parse_source(content, str(path))


def parse_source(content: bytes, path: str) -> Source:
    """The notebook that ``content`` holds; ``NotebookError`` when it is none."""
    return _remembered(content, path) if len(content) <= _LONGEST_REMEMBERED else _source(content, path)


@functools.lru_cache(maxsize=1)
def _remembered(content: bytes, path: str) -> Source:
    """The same, for the next point of a sweep."""
    return _source(content, path)


def _source(content: bytes, path: str) -> Source:
    document = _parse(content, path)
    cells = document["cells"]
    metadata = document.get("metadata") or {}
    spec = metadata.get("kernelspec") or {}
    language = (metadata.get("language_info") or {}).get("name") or spec.get("language") or "python"
    at = _parameters_cell(cells)
    return Source(
        path=path,
        content=content,
        kernel=str(spec.get("name") or DEFAULT_KERNEL),
        language=str(language),
        declared=_declared(cells, at, str(language)),
        cells=tuple(_text(cell) for cell in cells),
        parameters_cell=at,
    )


def executable(source: Source, parameters: Mapping[str, Json], *, kernel: str | None = None) -> Any:
    """A copy of the notebook in the current format with ``parameters`` injected by papermill behind the ``parameters``
    cell, ready for papermill's engines.

    Raises
    ------
    NotebookError
        Papermill cannot write such parameters in the notebook's language; or the notebook lacks what its format
        demands, or is nested too deeply.
    """
    import nbformat.v4
    from papermill.exceptions import PapermillException
    from papermill.execute import prepare_notebook_metadata, remove_error_markers
    from papermill.parameterize import parameterize_notebook

    content = _without_outputs(source.content)
    name = kernel or source.kernel
    try:
        if len(content) > _LONGEST_REMEMBERED:
            notebook = _of_papermill(content)
            if parameters:
                notebook = parameterize_notebook(notebook, dict(parameters), kernel_name=name, language=source.language)
        elif parameters:
            notebook = _with_parameters(content, dict(parameters), name, source.language)
        else:
            notebook = nbformat.v4.reads(_checked(content))
        return remove_error_markers(prepare_notebook_metadata(notebook, source.path, None))
    except (PapermillException, NotImplementedError) as error:
        raise NotebookError(f"{source.path}: parameters cannot be passed to this notebook: {error}") from error
    except (nbformat.ValidationError, AssertionError, AttributeError, KeyError, TypeError) as error:
        # Both take for granted what the format demands of a notebook and its cells.
        raise NotebookError(
            f"{source.path!r} is not a notebook of format 4: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        ) from error


@functools.lru_cache(maxsize=1)
def _checked(content: str) -> str:
    """A notebook's JSON in the current format. It is checked three times meanwhile, which takes long where it has many
    cells, so that is done once for all points of a sweep."""
    import nbformat.v4

    return str(nbformat.v4.writes(_of_papermill(content)))


def _with_parameters(content: str, parameters: dict[str, Json], kernel: str, language: str) -> Any:
    """A notebook with these parameters, as papermill makes it."""
    import nbformat.v4
    from nbformat.corpus.words import generate_corpus_id
    from papermill.translators import translate_parameters

    notebook = nbformat.v4.reads(_with_room(content, kernel, language))
    injected = next(cell for cell in notebook.cells if INJECTED_TAG in cell.metadata.tags)
    injected.source = translate_parameters(kernel, language, parameters, "Parameters")
    injected.id = generate_corpus_id()
    notebook.metadata.papermill["parameters"] = parameters
    return notebook


@functools.lru_cache(maxsize=1)
def _with_room(content: str, kernel: str, language: str) -> str:
    """A notebook's JSON with a cell for parameters. Papermill checks the cell that it makes for each point anew."""
    import nbformat.v4
    from papermill.parameterize import parameterize_notebook

    notebook = nbformat.v4.reads(_checked(content))
    return str(nbformat.v4.writes(parameterize_notebook(notebook, {}, kernel_name=kernel, language=language)))


def _of_papermill(content: str) -> Any:
    """A notebook as papermill loads it."""
    import nbformat.warnings
    from papermill.iorw import load_notebook_node

    with warnings.catch_warnings():
        # Cells without ids, as older tools write them, are given some.
        warnings.simplefilter("ignore", nbformat.warnings.MissingIDFieldWarning)
        # Through JSON once more: what nbformat makes of format 3 is of a class of its own that papermill does not know.
        try:
            return load_notebook_node(nbformat.from_dict(nbformat.reads(content, as_version=4)))
        except RecursionError:
            raise NotebookError("the notebook cannot be read: something in it is nested too deeply") from None


class _Cell(msgspec.Struct):
    cell_type: Any
    source: Any
    metadata: Any = None


class _Format4(msgspec.Struct):
    """What of a notebook is read; to make objects of its outputs too would take several times their size."""

    nbformat: Literal[4]
    cells: list[_Cell]
    metadata: Any = None


def _loaded(content: bytes) -> Any:
    try:
        return msgspec.to_builtins(msgspec.json.decode(content, type=_Format4))
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Another format, or what only Python takes for JSON, such as NaN in an output. Of bytes it would guess the
        # encoding, while Jupyter reads UTF-8 only.
        return json.loads(content.decode("utf-8"))


def _without_outputs(content: bytes) -> str:
    """The notebook's JSON without the outputs, which an execution clears first of all."""
    try:
        document = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        cells = msgspec.json.decode(document["cells"], type=list[dict[str, msgspec.Raw]])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        return content.decode("utf-8")
    for cell in cells:
        if "outputs" in cell:
            cell["outputs"] = _NOTHING
    return msgspec.json.encode({**document, "cells": cells}).decode()


def _parse(content: bytes, path: str) -> dict[str, Any]:
    """The notebook's JSON with ``cells`` as in format 4."""
    if content.startswith(codecs.BOM_UTF8):
        raise NotebookError(f"{path!r} is not a notebook: it begins with a byte order mark; save it without")
    try:
        document: dict[str, Any] = _loaded(content)
    except UnicodeDecodeError as error:
        raise NotebookError(f"{path!r} is not a notebook: it is not in UTF-8 ({error})") from None
    except (ValueError, RecursionError) as error:
        raise NotebookError(f"{path!r} is not a notebook: it is not JSON ({error})") from None
    if not isinstance(document, dict) or not isinstance(document.get("nbformat"), int):
        raise NotebookError(f"{path!r} is not a notebook: it has no 'nbformat' number")
    if document["nbformat"] > 4:
        raise NotebookError(f"{path!r} has notebook format {document['nbformat']}; formats up to 4 can be run")
    if document["nbformat"] < 4:
        import nbformat

        try:
            document = nbformat.reads(content.decode("utf-8"), as_version=4)
        except (nbformat.ValidationError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotebookError(f"{path!r} is not a notebook: it cannot be brought to format 4 ({error})") from error
    cells = document.get("cells")
    if not isinstance(cells, list) or not all(
        isinstance(c, dict) and "cell_type" in c and "source" in c for c in cells
    ):
        raise NotebookError(f"{path!r} is not a notebook: 'cells' is not a list of cells with a type and a source")
    _check_metadata(document, ("kernelspec", "language_info"), f"{path!r} is not a notebook: its")
    for number, cell in enumerate(cells, 1):
        what = f"{path!r} is not a notebook: cell {number}'s"
        _check_metadata(cell, (), what)
        source, tags = cell["source"], (cell.get("metadata") or {}).get("tags") or []
        if not isinstance(source, str) and not (isinstance(source, list) and all(isinstance(s, str) for s in source)):
            raise NotebookError(f"{what} source is neither a text nor a list of lines")
        if not isinstance(tags, list):
            raise NotebookError(f"{what} tags are no list")
    return document


def _check_metadata(holder: Mapping[str, Any], parts: tuple[str, ...], what: str) -> None:
    metadata = holder.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise NotebookError(f"{what} metadata are no object with names")
    for part in parts:
        if not isinstance(metadata.get(part) or {}, dict):
            raise NotebookError(f"{what} metadata have a {part!r} that is no object with names")


def _parameters_cell(cells: list[dict[str, Any]]) -> int | None:
    tagged = (PARAMETERS_TAG in ((cell.get("metadata") or {}).get("tags") or ()) for cell in cells)
    return next((at for at, is_tagged in enumerate(tagged) if is_tagged), None)


def _declared(cells: list[dict[str, Any]], at: int | None, language: str) -> tuple[Declared, ...] | None:
    if at is None:
        return ()
    return declared(_text(cells[at])) if language.lower() == "python" else None


def _text(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])
