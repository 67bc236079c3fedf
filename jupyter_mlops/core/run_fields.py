"""What may be said of a run besides what it logs: its beginning, its changes, the numbered streams that bring them.

Types are as annotated (:mod:`jupyter_mlops.core.arguments` sees to that); here it is about what the values mean.
"""

from __future__ import annotations

import math
import re

from jupyter_mlops.core.access import user_name
from jupyter_mlops.core.batches import check_batch
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.core.records import NewRun, Progress, Reason, RunChange, Runner, StreamPosition
from jupyter_mlops.core.values import (
    LARGEST_INT,
    LATEST_TIME,
    LONGEST_HIDDEN_STATE,
    LONGEST_KEY,
    LONGEST_REASON,
    LONGEST_RUN_SOURCE,
    check_text,
    run_name,
    short,
)

RERUN_TAG = "mlops.rerun.of"
"""Of a run that repeats another, whose id it is."""
OWN_NAME_TAG = "mlops.run_name"
"""What a notebook calls its run, where whoever ran it has chosen another name."""
LONGEST_REASON_TEXT = 50_000
"""Characters of an error that are kept."""
_LARGEST_PID = 2**31 - 1


def check_new_run(new: NewRun) -> None:
    """Refuse a run whose fields make no sense; ids are the business of whoever looks them up."""
    if new.name is not None:
        run_name(new.name)
    _check_time(new.start_time, "start_time")
    check_text(new.source, "source", LONGEST_RUN_SOURCE)
    _check_optional(new.hidden_state, "hidden state", LONGEST_HIDDEN_STATE)
    if new.submitted_by is not None:
        user_name(new.submitted_by)
    _check_runner(new.runner)
    check_batch(new.batch)


def check_change(change: RunChange) -> None:
    """Refuse a change to values that make no sense."""
    if change.name is not None:
        run_name(change.name)
    _check_time(change.end_time, "end_time")
    _check_optional(change.hidden_state, "hidden state", LONGEST_HIDDEN_STATE)
    _check_reason(change.reason)
    _check_progress(change.progress)
    _check_runner(change.runner)


def check_position(position: StreamPosition | None) -> None:
    """Refuse what is no place in a numbered stream."""
    if position is None:
        return
    if not re.fullmatch(r"[\w.:-]{1,200}", position.stream):
        raise InvalidValue(f"stream {short(position.stream)}: 1 to 200 letters, digits and '_.:-' are accepted")
    _check_number(position.number, f"stream {position.stream!r}: number", smallest=1)


def reason_text(text: str) -> str:
    """The text of an error as a reason takes it: what is no Unicode is replaced, the middle of a very long one left
    out. That a run ended must be on record whatever its last words were."""
    text = text.encode("utf-8", "replace").decode()
    half = LONGEST_REASON_TEXT // 2
    if len(text) <= 2 * half:
        return text
    return f"{text[:half]}\n... ({len(text) - 2 * half:,} characters left out) ...\n{text[-half:]}"


def _check_reason(reason: Reason | None) -> None:
    if reason is None:
        return
    for name in ("message", "source", "traceback"):
        # Programs print NUL, so that here it is taken.
        check_text((getattr(reason, name) or "").replace("\0", " "), f"reason: {name}", LONGEST_REASON)
    if reason.cell is not None:
        _check_number(reason.cell, "reason: cell")


def _check_progress(progress: Progress | None) -> None:
    if progress is not None:
        for name in progress.__struct_fields__:
            _check_number(getattr(progress, name), f"progress: {name}")


def _check_runner(runner: Runner | None) -> None:
    if runner is None:
        return
    check_text(runner.host, "runner: host", LONGEST_KEY)
    check_text(runner.boot_id, "runner: boot_id", LONGEST_KEY)
    for name, pid in (("pid", runner.pid), ("kernel_pid", runner.kernel_pid)):
        if pid is not None:
            _check_number(pid, f"runner: {name}", smallest=1, largest=_LARGEST_PID)
    for name, started in (("started", runner.started), ("kernel_started", runner.kernel_started)):
        if started is not None and not (math.isfinite(started) and started >= 0):
            raise InvalidValue(f"runner: {name}: {started} is no time; seconds since the epoch are expected")


def _check_time(time: int | None, what: str) -> None:
    if time is not None and not 0 <= time <= LATEST_TIME:
        raise InvalidValue(
            f"{what}: {time} is no time: milliseconds since the epoch, 0 to {LATEST_TIME} (the year 9999), are accepted"
        )


def _check_number(number: int, what: str, smallest: int = 0, largest: int = LARGEST_INT) -> None:
    if not smallest <= number <= largest:
        raise InvalidValue(f"{what}: {number} is out of range; {smallest} to {largest} are accepted")


def _check_optional(text: str | None, what: str, longest: int) -> None:
    if text is not None:
        check_text(text, what, longest)
