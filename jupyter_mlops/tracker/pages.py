"""Requests with the place where people decide about them."""

from __future__ import annotations

import msgspec

from jupyter_mlops.core.promotion import Promotion
from jupyter_mlops.tracker.protocol import Tracker


def with_page(tracker: Tracker, request: Promotion) -> Promotion:
    """An open request with the URL of its page; as it is when it is closed, or where there is no page."""
    page = tracker.page() if request.is_open else None
    return request if page is None else msgspec.structs.replace(request, page=page.of_request(request.request_id))
