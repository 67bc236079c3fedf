"""Who loads a version, noted beside the download that tells it."""

from __future__ import annotations

import logging

from jupyter_mlops.core.errors import MLOpsError
from jupyter_mlops.core.formats import abridged
from jupyter_mlops.core.model_card import LONGEST_PURPOSE
from jupyter_mlops.tracker.protocol import Models

logger = logging.getLogger("jupyter_mlops.service")


def note_load(models: Models, name: str, version: int, *, reference: str = "", purpose: str) -> None:
    """Note that the caller loads a version. A deployment gets its model also when nothing can be written."""
    try:
        models.consume(name, version, reference=reference, purpose=abridged(purpose, LONGEST_PURPOSE))
    except MLOpsError as error:
        logger.warning("a load of %s could not be noted: %s", name, error.message)
