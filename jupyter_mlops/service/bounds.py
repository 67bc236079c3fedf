"""What requests are refused for whatever else they ask: lengths, ranges and characters, for the API's description.

The rules are those of the code that checks them (:mod:`jupyter_mlops.core.values` above all), which says in a sentence
what is wrong with a value; here they are in the words of JSON Schema, for programs that make or check requests. What
depends on more than the value itself (whether there is such a thing, a token of a page) is none of them.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from jupyter_mlops.core.access import GROUP_PREFIX, LONGEST_OWNER
from jupyter_mlops.core.accesstokens import LONGEST_DAYS, LONGEST_NAME
from jupyter_mlops.core.filters import LONGEST_FILTER, MOST_KEYS
from jupyter_mlops.core.ids import ID_LENGTH
from jupyter_mlops.core.issued import LONGEST_SECONDS
from jupyter_mlops.core.model_card import LONGEST_CARD, LONGEST_PURPOSE
from jupyter_mlops.core.records import LARGEST_PAGE
from jupyter_mlops.core.values import (
    LARGEST_INT,
    LONGEST_ALIAS,
    LONGEST_ARTIFACT_PATH,
    LONGEST_COMMENT,
    LONGEST_DESCRIPTION,
    LONGEST_EXPERIMENT_NAME,
    LONGEST_KEY,
    LONGEST_PARAM,
    LONGEST_RUN_SOURCE,
    SMALLEST_INT,
)
from jupyter_mlops.store.registry import LARGEST_VERSION
from jupyter_mlops.tracker.evidence import MOST_RUNS

Schema = dict[str, Any]

# Control characters, and the separators of lines and paragraphs.
_CONTROL = r"\u0000-\u001f\u007f-\u009f\u2028\u2029"
# A part of a path that is neither empty nor "." nor "..".
_PART = r"(?:[^/.{0}]|\.[^/.{0}]|\.\.[^/{0}])[^/{0}]*"


def _text(longest: int, shortest: int = 0) -> Schema:
    return {"minLength": shortest, "maxLength": longest}


def _name(longest: int) -> Schema:
    """One line that is not blank."""
    return {**_text(longest, 1), "pattern": rf"^[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*$"}


def _parts(longest: int, without: str = "") -> Schema:
    """Parts between slashes, as of a path."""
    part = _PART.format(_CONTROL + without)
    return {**_text(longest, 1), "pattern": f"^{part}(?:/{part})*$"}


def _from(smallest: int, largest: int = LARGEST_INT) -> Schema:
    return {"minimum": smallest, "maximum": largest}


_ID: Schema = {"pattern": "^[0-9a-f]{32}$"}
_KEY = _parts(LONGEST_KEY)
_REQUIRED_REASON: Schema = {**_text(LONGEST_COMMENT, 1), "pattern": r"\S"}

BOUNDS: tuple[tuple[str, Schema], ...] = (
    ("experiments.*.name", _name(LONGEST_EXPERIMENT_NAME)),
    ("experiments.*.to_user", _name(LONGEST_OWNER)),
    ("experiments.*.to_group", _name(LONGEST_OWNER - len(GROUP_PREFIX))),
    ("access_tokens.create.name", _name(LONGEST_NAME)),
    ("access_tokens.create.days", _from(1, LONGEST_DAYS)),
    ("issue_token.seconds", _from(1, LONGEST_SECONDS)),
    ("runs.resolve.text", _name(LONGEST_KEY)),
    ("runs.comment.text", _REQUIRED_REASON),
    ("runs.sampled.width", _from(1)),
    ("artifacts.*.upload_id", _ID),
    ("artifacts.list.path", {}),
    ("artifacts.walk.path", {}),
    ("artifacts.*.path", _parts(LONGEST_ARTIFACT_PATH, r"\\")),
    ("models.stat.path", _parts(LONGEST_ARTIFACT_PATH, r"\\")),
    ("models.open.path", _parts(LONGEST_ARTIFACT_PATH, r"\\")),
    ("models.create.name", _name(LONGEST_KEY)),
    ("models.update.new_name", _name(LONGEST_KEY)),
    ("models.register.version", _from(1, LARGEST_VERSION)),
    ("models.refer.source", _name(LONGEST_RUN_SOURCE)),
    ("models.set_card.text", _text(LONGEST_CARD)),
    ("models.consume.purpose", _text(LONGEST_PURPOSE)),
    ("models.*.description", _text(LONGEST_DESCRIPTION)),
    ("promotions.comment.text", _REQUIRED_REASON),
    ("promotions.reject.reason", _REQUIRED_REASON),
    ("promotions.request_changes.reason", _REQUIRED_REASON),
    ("promotions.rollback.reason", _REQUIRED_REASON),
    ("promotions.override.reason", _REQUIRED_REASON),
    ("compare.run_ids", {"minItems": 1, "maxItems": MOST_RUNS}),
    ("logged_models.create.model_id", _ID),
    ("logged_models.create.name", _name(LONGEST_KEY)),
    ("models.refer.run_id", _name(ID_LENGTH)),
    ("models.delete_tag.key", {}),
    ("*.delete_tag.key", _KEY),
    ("models.set_alias.alias", _name(LONGEST_ALIAS)),
    ("promotions.request.alias", _name(LONGEST_ALIAS)),
    ("promotions.override.alias", _name(LONGEST_ALIAS)),
    ("*.reason", _text(LONGEST_COMMENT)),
    ("access_tokens.list.owner", {}),
    ("webhooks.list.owner", {}),
    ("*.owner", _name(LONGEST_OWNER)),
    ("*.subject", _name(LONGEST_OWNER)),
    ("people.*.to", _name(LONGEST_OWNER)),
    ("*.limit", _from(1, LARGEST_PAGE)),
    ("*.filter", _text(LONGEST_FILTER)),
    ("*.order_by", {"maxItems": MOST_KEYS}),
    # Of what is in requests.
    ("Metric.key", _KEY),
    ("Metric.timestamp", _from(0)),
    ("Metric.step", _from(SMALLEST_INT)),
    ("Param.key", _KEY),
    ("Tag.key", _KEY),
    ("Series.key", _KEY),
    ("Param.text", _text(LONGEST_PARAM)),
    ("CheckResult.name", _name(LONGEST_KEY)),
    ("StreamPosition.stream", {"pattern": "^[A-Za-z0-9_.:-]{1,200}$"}),
    ("StreamPosition.number", _from(1)),
)
"""Names, as :mod:`fnmatch` reads them, of parameters (``runs.comment.text``) and of fields of records
(``Metric.key``), with what their values keep to. The first name that matches counts."""


def bound(name: str, schema: Schema) -> Schema:
    """``schema``, that of the parameter or field ``name``, with what its values keep to; null stays possible where it
    was."""
    bounds = next((bounds for pattern, bounds in BOUNDS if fnmatchcase(name, pattern)), None)
    if not bounds:
        return schema
    if "anyOf" in schema:
        return {
            **schema,
            "anyOf": [{**each, **bounds} if each != {"type": "null"} else each for each in schema["anyOf"]],
        }
    return {**schema, **bounds}
