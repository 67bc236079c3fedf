"""Every error a user can meet, one class each.

A class decides its HTTP status and its MLflow ``error_code``; nothing else in the project does. Messages say what is
wrong, where, and what would be right, and never carry a secret: they are shown to users as they are, except for
those whose ``public`` says what others are shown.
"""

from __future__ import annotations

import errno


class MLOpsError(Exception):
    """Base of all errors this project raises on purpose."""

    http_status: int = 500
    error_code: str = "INTERNAL_ERROR"
    request_id: str = ""
    """Of the request that a service answered so: finds it in the service's log."""
    public: str = ""
    """What a service's callers are told instead of the message, where that says what only concerns whoever runs it."""

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else type(self).__name__

    def __str__(self) -> str:
        return f"{self.message} (request id: {self.request_id})" if self.request_id else super().__str__()


class InvalidValue(MLOpsError):
    """A value that cannot be accepted: wrong type, too long, not in the grammar."""

    http_status = 400
    error_code = "INVALID_PARAMETER_VALUE"


class FilterError(InvalidValue):
    """A search filter or ordering that does not parse; the message points at the place."""


class UnknownParameter(InvalidValue):
    """A parameter that the notebook's ``parameters`` cell does not declare."""


class ParameterTypeError(InvalidValue):
    """A parameter whose value does not fit the declared type."""


class NotebookError(InvalidValue):
    """A file that is not a notebook, or a notebook that cannot be run as asked."""


class UnsafeModel(InvalidValue):
    """A model whose format can run code when loaded, where only safe formats are accepted."""


class NotFound(MLOpsError):
    """No such thing, or not yours to see: the two look alike."""

    http_status = 404
    error_code = "RESOURCE_DOES_NOT_EXIST"


class EndpointNotFound(NotFound):
    """Nothing is answered at this URL."""

    error_code = "ENDPOINT_NOT_FOUND"


class AlreadyExists(MLOpsError):
    """A name that is taken."""

    http_status = 400
    error_code = "RESOURCE_ALREADY_EXISTS"


class NameTaken(AlreadyExists):
    """A name taken by something that the caller may not see."""

    http_status = 409


class Conflict(MLOpsError):
    """The thing is in a state that does not allow this: changed by someone else, deleted, already finished."""

    http_status = 409
    error_code = "RESOURCE_CONFLICT"


class TrackerClosed(Conflict):
    """The tracker was closed, or was opened by the process that this one is a fork of; another one may do the same."""

    # What is told so was not done, and is not refused: a spool keeps it.
    http_status = 503
    error_code = "TEMPORARILY_UNAVAILABLE"
    public = "the service is ending; the same may succeed soon"


class Unauthenticated(MLOpsError):
    """Nobody knows who is asking."""

    http_status = 401
    error_code = "UNAUTHENTICATED"


class PermissionDenied(MLOpsError):
    """The caller may see the thing but not do this to it."""

    http_status = 403
    error_code = "PERMISSION_DENIED"


class NotSupported(MLOpsError):
    """Known, and not offered here."""

    http_status = 501
    error_code = "NOT_IMPLEMENTED"


class Unavailable(MLOpsError):
    """The database, the artifact store or the service does not answer now; the same call may succeed later."""

    http_status = 503
    error_code = "TEMPORARILY_UNAVAILABLE"


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of the system that mean :class:`StorageFull`."""


class StorageFull(MLOpsError):
    """No room left; nothing half written is visible."""

    http_status = 507
    error_code = "RESOURCE_EXHAUSTED"


class QuotaExceeded(MLOpsError):
    """An owner has as much as they may have; nothing half written is visible. It works again when there is room."""

    http_status = 507
    error_code = "RESOURCE_EXHAUSTED"


class TooLarge(InvalidValue):
    """More at once than is taken."""

    http_status = 413


class TooManyRequests(MLOpsError):
    """More requests than a caller may make in a time; the same one may succeed later."""

    http_status = 429
    error_code = "REQUEST_LIMIT_EXCEEDED"

    def __init__(self, message: str, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = after
        """Seconds from when on it may."""


class SchemaOutdated(MLOpsError):
    """The database was made by an older version: ``jupyter mlops db upgrade`` is needed."""

    http_status = 503
    error_code = "TEMPORARILY_UNAVAILABLE"


class SchemaTooNew(MLOpsError):
    """The database was made by a newer version than this one."""

    http_status = 503
    error_code = "TEMPORARILY_UNAVAILABLE"


class IntegrityError(MLOpsError):
    """Stored bytes that do not match their digest."""

    http_status = 500
    error_code = "DATA_LOSS"


class MissingDependency(MLOpsError):
    """An optional package is needed for this; the message says which and how to install it."""

    http_status = 501
    error_code = "NOT_IMPLEMENTED"


class RunFailed(MLOpsError):
    """A recorded notebook run that ended FAILED or KILLED; raised to callers that asked to wait for it."""

    http_status = 500
    error_code = "INTERNAL_ERROR"

    def __init__(self, message: str, run_id: str) -> None:
        super().__init__(message, run_id)
        self.run_id = run_id
