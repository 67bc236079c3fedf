"""``connect`` picks the tracker for a URL. Imports the database layer only when called."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from jupyter_mlops.core.access import Principal, local_principal
from jupyter_mlops.core.arguments import checked_call
from jupyter_mlops.core.errors import InvalidValue, MissingDependency
from jupyter_mlops.core.redaction import holds_secret, masked_url, redact_text
from jupyter_mlops.core.values import short
from jupyter_mlops.tracker import location
from jupyter_mlops.tracker.process import this_user
from jupyter_mlops.tracker.protocol import Tracker

if TYPE_CHECKING:
    from jupyter_mlops.store.database import Database


@checked_call
def connect(
    url: str | None = None,
    *,
    artifacts: str | Path | None = None,
    principal: Principal | None = None,
    connections: int | None = None,
) -> Tracker:
    """Open the tracker at ``url``.

    Parameters
    ----------
    url
        ``sqlite:///path``, ``postgresql://user:password@host/database``, or a service's ``https://host/services/mlops``,
        which knows its caller by :func:`jupyter_mlops.tracker.location.token_for`; when None, the environment variable
        ``MLOPS_TRACKING_URL``, else the embedded store in the user's Jupyter data directory, which is created.
    artifacts
        Where files go: a folder or an fsspec URL. When None: ``MLOPS_ARTIFACTS_URL``, else the location that the
        database remembers from its first use, else ``artifacts`` beside the SQLite file, or, for PostgreSQL, in
        :func:`jupyter_mlops.tracker.location.home`. A store's files stay in one place: once it is settled, another one
        is refused.
    principal
        Who is asking; when None, the operating system's user, who may do everything with a store they can open.
    connections
        How many threads may use the database at once, at least; when None, as many as a single user needs.

    Raises
    ------
    InvalidValue
        The URL is none of these, or its folder does not exist; or the store's files are in another place than
        ``artifacts``.
    SchemaOutdated, SchemaTooNew
        Another version made the database. An older SQLite file is upgraded instead, after a copy was made beside it.
    Unavailable
        The database does not answer.
    MissingDependency
        jupyter-mlops was installed without what it needs for this.
    """
    chosen = url or location.default_url()
    if location.is_service(chosen):
        if artifacts is not None or principal is not None:
            raise InvalidValue(
                f"{short(masked_url(chosen), 200)} is a service, which knows where files go and who is asking: leave "
                "out artifacts and principal"
            )
        from jupyter_mlops.tracker.remote import RemoteTracker

        return cast(Tracker, RemoteTracker(chosen, partial(location.token_for, chosen)))
    try:
        from jupyter_mlops.store import migrate
        from jupyter_mlops.store.database import Database
        from jupyter_mlops.tracker.embedded import EmbeddedTracker, OpenStore
    except ModuleNotFoundError as error:
        # A kernel's environment may have only what logging needs.
        raise MissingDependency(
            f"the store cannot be opened in {sys.prefix}, which has no package {error.name!r}: install jupyter-mlops "
            "there with its dependencies. Logging from a notebook run works without them"
        ) from error

    if chosen == f"sqlite:///{location.home() / location.DATABASE_FILE}":
        _make_private(location.home())
    database = Database(chosen) if connections is None else Database(chosen, connections=connections)
    try:
        migrate.ensure_current(database, upgrade=database.is_sqlite)
        where = artifacts_location(database, artifacts)
        return EmbeddedTracker(OpenStore(database, where), principal or local_principal(this_user()))
    except BaseException:
        database.close()
        raise


def _make_private(folder: Path) -> None:
    try:
        location.make_private(folder)
    except OSError as error:
        raise InvalidValue(
            f"the folder of the embedded store, {folder}, cannot be created ({error.strerror}); set "
            f"{location.HOME} to one that can"
        ) from error


def artifacts_location(database: Database, given: str | Path | None) -> str:
    """Where the files of the store in ``database`` are; see :func:`connect`."""
    from jupyter_mlops.store import blobs, settings

    folder = location.home() if database.path is None else database.path.parent
    beside = str(folder / location.ARTIFACTS_FOLDER)
    wanted = str(given or os.environ.get(location.ARTIFACTS_URL) or "")
    wanted = wanted and new_location(wanted)
    with database.read() as connection:
        settled = settings.get(connection, settings.ARTIFACTS_URL)
    if settled is None:
        place = wanted or beside
        # A SQLite file and its files may be moved together, so the folder beside it has no absolute path.
        kept = location.ARTIFACTS_FOLDER if place == beside and database.path is not None else place
        with database.write() as connection:
            settings.set_first(connection, settings.ARTIFACTS_URL, kept)
            settled = settings.get(connection, settings.ARTIFACTS_URL)
    place = beside if settled == location.ARTIFACTS_FOLDER else str(settled)
    if wanted and wanted.rstrip("/") != place.rstrip("/"):
        with database.write() as connection:
            if blobs.has_any(connection):
                raise InvalidValue(
                    f"the files of {database.url} are in {masked_url(place)}, not in {masked_url(wanted)}: leave out "
                    f"--artifacts (or artifacts=) and {location.ARTIFACTS_URL}, or name that place"
                )
            settings.replace(connection, settings.ARTIFACTS_URL, wanted)
        return wanted
    return place


def new_location(place: str) -> str:
    """A location of files that a store can keep: a folder, made absolute, or an fsspec URL.

    Raises
    ------
    InvalidValue
        The URL carries a secret.
    """
    wanted = location.absolute(place)
    if "://" in wanted and holds_secret(wanted):
        scheme = wanted.rpartition("::")[2].partition("://")[0]
        raise InvalidValue(
            f"the artifact location {redact_text(masked_url(wanted))} carries a secret, and the store keeps its "
            f"location: give the URL without, and the secret to fsspec, by an environment variable such as "
            f"FSSPEC_{scheme.upper()}_PASSWORD or by a file in ~/.config/fsspec"
        )
    return wanted
