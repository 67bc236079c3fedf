"""Seals the permanent record from time to time, so that what is changed later shows."""

from __future__ import annotations

import asyncio
import logging

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.service.handlers import Service

logger = logging.getLogger("jupyter_mlops.service")

PERIOD_SECONDS = 60.0


async def seal_regularly(service: Service, period: float = PERIOD_SECONDS) -> None:
    """Do it each ``period`` seconds, until cancelled. Several replicas may."""
    while True:
        try:
            await service.call(service.tracker.audit_head)
        except MLOpsError as error:
            logger.warning("the record cannot be sealed: %s", error.message)
        except Exception:
            logger.exception("the record cannot be sealed")
        await asyncio.sleep(period)
