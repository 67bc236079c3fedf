"""Jupyter's messages, read from the parts that they are sent in. It needs nothing that is not Python's own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

DELIMITER = b"<IDS|MSG>"
"""Behind the identities of who is to get a message."""
_decode = json.JSONDecoder().decode


def read_message(parts: Sequence[bytes]) -> dict[str, Any]:
    """The message that these are parts of, as :meth:`Session.deserialize` has it, which takes three times as long.
    Nobody but a kernel and its runner have the ends of a wire, so signatures are not looked at."""
    begin = parts.index(DELIMITER) + 2
    header, parent, metadata, content = (_decode(part.decode("utf-8", "replace")) for part in parts[begin : begin + 4])
    for each in header, parent:
        # What code has made up stays as it is.
        with contextlib.suppress(KeyError, ValueError, AttributeError):
            each["date"] = datetime.fromisoformat(each["date"].replace("Z", "+00:00"))
    return {
        "header": header,
        "msg_id": header["msg_id"],
        "msg_type": header["msg_type"],
        "parent_header": parent,
        "metadata": metadata,
        "content": content,
        "buffers": [memoryview(part) for part in parts[begin + 4 :]],
    }
