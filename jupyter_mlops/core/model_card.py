"""Who uses a version of a model, and its card: what is to be known of it, drafted from the record."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jupyter_mlops.core import formats
from jupyter_mlops.core.checks import CheckResult
from jupyter_mlops.core.records import ModelVersion, Record, Run

LONGEST_CARD = 200_000
LONGEST_PURPOSE = 500
_LONGEST_CELL = 200
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#])")


class Consumer(Record, frozen=True, kw_only=True):
    """Who loads a version of a model, by which reference and what for, as often as they said so."""

    version: int
    user: str
    reference: str = ""
    """The alias it was asked for by, such as ``@production``; empty when it was asked for by number."""
    purpose: str = ""
    """What loads it, in its own words: a notebook, ``cli``, the name of a deployment."""
    first: int
    last: int
    loads: int


class ModelCard(Record, frozen=True, kw_only=True):
    """What is to be known of a version, as Markdown: drafted from the record, or what people made of that."""

    model: str
    version: int
    text: str
    edited_by: str | None = None
    """None for a draft."""
    edited: int | None = None


def draft(version: ModelVersion, run: Run | None, checks: Sequence[CheckResult] = ()) -> str:
    """A card from what is on record: of the run only where it is there, and the reader may see it; the checks are
    those that the version went through to be promoted."""
    parts = [f"# {_cell(version.model)} version {version.version}"]
    if version.description:
        parts.append(version.description.strip())
    parts.append(_table(("", ""), [(key, value) for key, value in _facts(version, run) if value]))
    if run is not None:
        used = [
            (data.name, use.context, data.digest, "" if data.rows is None else data.rows)
            for use, data in ((use, use.dataset) for use in run.inputs)
        ]
        parts += _section("Data", ("data set", "used for", "digest", "rows"), used)
        params = [(param.key, param.text) for param in run.params]
        parts += _section("Parameters", ("parameter", "value"), params)
        parts += _section("Metrics", ("metric", "value"), [(m.key, formats.number(m.value)) for m in run.metrics])
    found = [(each.name, each.verdict.value, each.summary, each.reported_by) for each in checks]
    parts += _section("Checks", ("check", "verdict", "what was found", "reported by"), found)
    parts.append("## Intended use\n\nNot described yet.")
    parts.append("## Limits\n\nNot described yet.")
    return "\n\n".join(parts) + "\n"


def _facts(version: ModelVersion, run: Run | None) -> Sequence[tuple[str, object]]:
    tags = {} if run is None else {tag.key: tag.value for tag in run.tags}
    return (
        ("registered by", version.user),
        ("author", "" if run is None else run.user),
        ("notebook or script", "" if run is None else run.source),
        ("git commit", tags.get("mlflow.source.git.commit", "")),
        ("run", version.run_id or ""),
        ("hidden state", "" if run is None else run.hidden_state or ""),
        ("flavours", ", ".join(version.flavors)),
        ("loading", "safe" if version.safe else "runs code that came with it"),
        ("size", formats.size(version.size)),
        ("SHA-256", version.digest),
    )


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [f"## {title}", _table(header, rows)] if rows else []


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header)]
    cells = [[_cell(str(value)) for value in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (*lines, *cells))


def _cell(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", formats.printable(formats.abridged(text, _LONGEST_CELL)))
