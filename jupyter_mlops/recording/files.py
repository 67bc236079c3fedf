"""Files of the active run from code: artifacts, figures, texts, dicts and images, with MLflow's names and signatures.

A file is copied beside the spool before the call returns, so that it may be changed or removed afterwards.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from jupyter_mlops.core import values
from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import InvalidValue, MissingDependency, MLOpsError
from jupyter_mlops.recording.entities import now
from jupyter_mlops.recording.foreign import is_instance
from jupyter_mlops.recording.session import checked_id, current

_PLOTLY_IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf")


@checked_call
def log_artifact(local_path: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Store a file, or a folder under its name, in the run; in its folder ``artifact_path`` when given.

    ``InvalidValue`` when there is neither a file nor a folder at ``local_path``.
    """
    path = Path(local_path)
    if is_folder(path):
        for file, below in _files(path):
            _store(_joined(artifact_path, path.resolve().name, below), _copier(file), run_id)
    elif path.is_file():
        _store(_joined(artifact_path, path.name), _copier(path), run_id)
    else:
        raise InvalidValue(
            f"log_artifact: there is no file or folder {values.short(str(local_path), 200)} (from {Path.cwd()})"
        )


@checked_call
def log_artifacts(local_dir: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Store what is in a folder in the run; in its folder ``artifact_path`` when given. Symbolic links are left out."""
    folder = Path(local_dir)
    if not is_folder(folder):
        raise InvalidValue(f"log_artifacts: there is no folder {values.short(str(local_dir), 200)} (from {Path.cwd()})")
    for file, below in _files(folder):
        _store(_joined(artifact_path, below), _copier(file), run_id)


@checked_call
def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Store a text as the run's file ``artifact_file``, in UTF-8."""
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(f"log_text: this text has no form in UTF-8: {error}") from error
    _store(artifact_file, lambda target: target.write_bytes(content), run_id)


@checked_call
def log_dict(dictionary: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Store a dict (or a list) as JSON, or as YAML when ``artifact_file`` ends so. Other objects in it are written as
    their text."""
    is_yaml = PurePosixPath(artifact_file).suffix in (".yml", ".yaml")
    try:
        text = _yaml(dictionary) if is_yaml else json.dumps(dictionary, indent=2, default=str, ensure_ascii=False)
    except MLOpsError:
        raise
    except Exception as error:
        found = f"{values.short(dictionary)} ({type(error).__name__}: {values.short(str(error), 200)})"
        raise InvalidValue(f"log_dict: this cannot be written as {values.short(artifact_file)}: {found}") from error
    log_text(text, artifact_file, run_id)


@checked_call
def log_figure(figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
    """Store a matplotlib or a plotly figure; the format follows from the end of ``artifact_file``.

    ``save_kwargs`` go to ``Figure.savefig`` of matplotlib, ``write_html`` or ``write_image`` of plotly.
    ``InvalidValue`` for other objects, and for a format that the library does not write.
    """
    options = dict(save_kwargs or {})
    suffix = PurePosixPath(artifact_file).suffix.lower()
    if is_instance(figure, "matplotlib.figure", "Figure"):
        options.setdefault("format", suffix[1:] or "png")
        known = figure.canvas.get_supported_filetypes()
        if options["format"] not in known:
            raise InvalidValue(
                f"log_figure: matplotlib writes no {options['format']!r} files ({artifact_file!r}); it writes "
                f"{', '.join(sorted(known))}"
            )
        _store(artifact_file, lambda target: figure.savefig(target, **options))
    elif is_instance(figure, "plotly.graph_objects", "Figure"):
        if suffix == ".html":
            options = {"include_plotlyjs": "cdn", "auto_open": False, **options}
            _store(artifact_file, lambda target: figure.write_html(str(target), **options))
        elif suffix in _PLOTLY_IMAGES:
            options.setdefault("format", suffix[1:])
            _store(artifact_file, lambda target: figure.write_image(str(target), **options))
        else:
            raise InvalidValue(
                f"log_figure: plotly writes .html and {', '.join(_PLOTLY_IMAGES)}, not {artifact_file!r}"
            )
    else:
        raise InvalidValue(
            f"log_figure: expected a figure of matplotlib or plotly, found a {type(figure).__module__}."
            f"{type(figure).__qualname__}; of an Axes, give its .figure"
        )


@checked_call
def log_image(
    image: Any,
    artifact_file: str | None = None,
    key: str | None = None,
    step: int | None = None,
    timestamp: int | None = None,
    synchronous: bool | None = False,
) -> None:
    """Store an image: of Pillow, or a NumPy array of (height, width) or (height, width, 1, 3 or 4), with numbers of 0
    to 255 or, as floats, of 0 to 1.

    Parameters
    ----------
    artifact_file
        Its path in the run; the format follows from its end.
    key, step, timestamp
        Instead of a path, a name for a series of images and its place in it: the file is
        ``images/<key>/<step>-<timestamp>.png``. The step is 0, the timestamp (milliseconds since the epoch) now when
        absent.
    synchronous
        Wait until it is stored.
    """
    if (artifact_file is None) == (key is None):
        raise InvalidValue("log_image: give either artifact_file or key")
    if artifact_file is None:
        artifact_file = f"images/{key}/{step or 0}-{now() if timestamp is None else timestamp}.png"
    elif step is not None or timestamp is not None:
        raise InvalidValue("log_image: step and timestamp go with key, not with artifact_file")
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependency("log_image needs Pillow: pip install pillow") from None
    suffix = PurePosixPath(artifact_file).suffix.lower()
    form = Image.registered_extensions().get(suffix)
    if form is None:
        raise InvalidValue(
            f"log_image: {values.short(artifact_file, 200)} does not end like an image; .png is a good choice"
        )
    picture = image if isinstance(image, Image.Image) else Image.fromarray(_pixels(image))
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format=form)
    except (OSError, ValueError) as error:
        raise InvalidValue(f"log_image: this image cannot be written as {artifact_file!r}: {error}") from error
    _store(artifact_file, lambda target: target.write_bytes(buffer.getvalue()))
    if synchronous:
        current().flush()


def _yaml(dictionary: Any) -> str:
    try:
        import yaml
    except ImportError:
        raise MissingDependency("log_dict needs PyYAML to write YAML: pip install pyyaml") from None
    return str(yaml.dump(dictionary, indent=2, default_flow_style=False, allow_unicode=True))


def _pixels(image: Any) -> Any:
    import numpy as np

    if not isinstance(image, np.ndarray):
        raise InvalidValue(
            f"log_image: expected a Pillow image or a NumPy array, found a {type(image).__module__}."
            f"{type(image).__qualname__}"
        )
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[2] in (3, 4)):
        raise InvalidValue(
            f"log_image: an array of shape {image.shape} is no image; those of (height, width) and of (height, width, "
            "1, 3 or 4) are"
        )
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    largest = 1.0 if image.dtype.kind == "f" else 255
    if image.dtype.kind not in "fiu" or (image.size and not (image.min() >= 0 and image.max() <= largest)):
        raise InvalidValue(
            f"log_image: the values of an image of {image.dtype} are numbers from 0 to {largest}; scale the array"
        )
    return np.round(image * 255).astype(np.uint8) if image.dtype.kind == "f" else image.astype(np.uint8)


def _store(path: str, write: Callable[[Path], object], run_id: str | None = None) -> None:
    session = current()
    target = session.logged_to().run_id if run_id is None else checked_id(run_id, "run_id")
    session.delivery.put_file(target, values.artifact_path(path), write)


def _copier(source: Path) -> Callable[[Path], object]:
    def copy(target: Path) -> object:
        try:
            source.open("rb").close()
        except OSError as error:
            raise InvalidValue(f"cannot read {str(source)!r}: {error.strerror}") from error
        return shutil.copyfile(source, target)

    return copy


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """The regular files below a folder, each with its POSIX path there."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink():
            yield file, file.relative_to(folder).as_posix()


def is_folder(path: Path) -> bool:
    """Whether there is a folder at ``path``; ``InvalidValue`` when the system cannot say."""
    try:
        return path.is_dir()
    except OSError as error:
        raise InvalidValue(f"cannot read {values.short(str(path), 200)}: {error.strerror}") from error


def _joined(*parts: str | None) -> str:
    return "/".join(part.rstrip("/") for part in parts if part)
