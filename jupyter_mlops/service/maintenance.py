"""What a service does by itself from time to time: it ends the runs whose runner is silent, closes the requests for
promotion whose time is over, and deletes, once a day, what the rules of retention no longer keep.

Of runs on other machines nothing else can be known. Several replicas may do so at once: the database lets one end a
run, and who is heard again has it reopened, whichever replica hears it. (Events are trimmed by the writer of runs.)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.service.handlers import Service

logger = logging.getLogger("jupyter_mlops.service")

PERIOD_SECONDS = 30.0
"""How often, at most."""


class Maintenance:
    """Does all that, for as long as :meth:`run` runs.

    Parameters
    ----------
    service
        Whose store is looked after.
    lost_after_seconds
        How long a runner may be silent. Silence counts only from when it could be heard: from this service's own start,
        and anew after a time in which the database was away or this machine was asleep.
    collect_after_days
        After how many days what was deleted is collected; 0 for never.
    clock
        Seconds; one that goes on while the machine sleeps.
    """

    def __init__(
        self,
        service: Service,
        lost_after_seconds: float,
        clock: Callable[[], float] = time.time,
        *,
        collect_after_days: float = 0.0,
    ) -> None:
        self._service = service
        self._collect_after_days = collect_after_days
        self._lost_after = lost_after_seconds
        self._clock = clock
        self._period = min(PERIOD_SECONDS, lost_after_seconds / 3)
        self._hears_since = clock()
        self._rounds_end = clock()

    async def run(self) -> None:
        """Do it again and again, until cancelled."""
        # What is collected may take hours, for which lost runs cannot wait.
        await asyncio.gather(self._watch(), self._keep_house())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            try:
                ended = await self.round()
            except MLOpsError as error:
                # The store is away, and with it the way of the heartbeats.
                logger.warning("silent runs cannot be looked for: %s", error.message)
            except Exception:
                logger.exception("silent runs cannot be looked for")
            else:
                for run_id in ended:
                    logger.warning("run %s was ended: its runner was silent for %g s", run_id, self._lost_after)
            await self._close_requests()

    async def _close_requests(self) -> None:
        try:
            closed = await self._service.call(self._service.tracker.end_requests)
        except MLOpsError as error:
            logger.warning("requests that are over cannot be closed: %s", error.message)
        except Exception:
            logger.exception("requests that are over cannot be closed")
        else:
            if closed:
                logger.info("%d requests for promotion have expired", closed)

    async def _keep_house(self) -> None:
        keep = partial(self._service.tracker.keep_house, self._collect_after_days)
        while True:
            await asyncio.sleep(self._period)
            try:
                kept = await self._service.call(keep)
            except MLOpsError as error:
                logger.warning("what is past its time cannot be deleted: %s", error.message)
            except Exception:
                logger.exception("what is past its time cannot be deleted")
            else:
                if kept is not None:
                    expiry, collected = kept
                    logger.info(
                        "%d runs were past their time and are deleted, %d deleted ones are collected",
                        expiry.runs,
                        collected.runs,
                    )

    async def round(self) -> list[str]:
        """Look once; gives the ids of the runs that were ended."""
        begun = self._clock()
        if not 0 <= begun - self._rounds_end <= 3 * self._period:
            self._hears_since = begun
        try:
            if begun - self._hears_since < self._lost_after:
                await self._service.call(self._service.tracker.database.ping)
                return []
            return await self._service.call(partial(self._service.tracker.end_silent_runs, self._lost_after))
        except Exception:
            self._hears_since = self._clock()
            raise
        finally:
            self._rounds_end = self._clock()
