"""Values of libraries that need not be installed."""

from __future__ import annotations

import sys


def is_instance(value: object, module: str, name: str) -> bool:
    """Whether ``value`` is of a class of a module, without importing what the caller cannot have."""
    found = sys.modules.get(module)
    return found is not None and isinstance(value, getattr(found, name))
