from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from jupyter_mlops.core.errors import MLOpsError


def together(*calls: Callable[[], Any]) -> list[Any]:
    """Make the calls at the same moment, each in a thread; gives what each returned, or the error that it raised."""
    barrier = threading.Barrier(len(calls))

    def work(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except MLOpsError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(work, calls))
