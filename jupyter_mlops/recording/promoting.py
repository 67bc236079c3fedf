"""``mlops.promote``: asking for promotion from a notebook."""

from __future__ import annotations

from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.promotion import Promotion
from jupyter_mlops.recording.session import current
from jupyter_mlops.tracker.pages import with_page


@checked_call
def promote(name: str, version: int | str, *, alias: str = "production", reason: str = "") -> Promotion:
    """Ask to point an alias of a registered model at one of its versions.

    An alias that is not protected (those of one's own models) moves at once: then the answer's ``state`` is
    ``promoted``. A protected one moves when the policy is met; what that takes is in the answer's ``missing``, and on
    a hub the URL at which it is decided about in ``page``.

    Parameters
    ----------
    version
        A number, ``"latest"``, or ``"@ALIAS"``.

    Raises
    ------
    NotFound
        There is no such model or version.
    PermissionDenied
        The model is another's.
    Conflict
        The alias points there already, or nobody could approve this.
    """
    tracker = current().reader()
    number = version if isinstance(version, int) else tracker.models.resolve(name, version).version
    return with_page(tracker, tracker.promotions.request(name, number, alias=alias, reason=reason))
