"""``jupyter mlops service``: the HTTP service as a process of its own, with a hub or with a file of tokens.

Without a hub nothing of JupyterHub is imported, so that it need not be installed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from traitlets import Bool, Float, Integer, List, Unicode, default, observe, validate
from traitlets.config import Application as TraitletsApplication
from traitlets.config import catch_config_error

from jupyter_mlops._version import __version__
from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.hub.supervisor import Link, listening, supervise
from jupyter_mlops.tracker import location

PORT = 10380
STOP_SECONDS = 10.0
"""How long it may take to stop. A hub kills what takes longer."""


class MLOpsService(TraitletsApplication):
    """The HTTP API of one store: experiments, runs and models for all who may ask.

    A process that a JupyterHub starts as one of its services, or that has the environment of one, asks the hub who its
    callers are. Any other needs a file of tokens.
    """

    name = "jupyter-mlops-service"
    version = __version__
    description = __doc__ or ""

    aliases = {  # noqa: RUF012 - traitlets reads it so
        "config": "MLOpsService.config_file",
        "ip": "MLOpsService.ip",
        "port": "MLOpsService.port",
        "base-url": "MLOpsService.base_url",
        "db": "MLOpsService.db_url",
        "artifacts": "MLOpsService.artifacts_url",
        "tokens": "MLOpsService.tokens_file",
        "log-level": "MLOpsService.log_level",
    }
    flags = {  # noqa: RUF012
        "log-json": ({"MLOpsService": {"log_json": True}}, "Write the log as JSON, with a line for each request."),
        "generate-config": (
            {"MLOpsService": {"generate_config": True}},
            "Write a configuration file with all settings and their defaults, and end.",
        ),
    }

    config_file = Unicode(
        "jupyter_mlops_service_config.py",
        help="The configuration file that is read at start, if there is one: Python with c.MLOpsService.port = ... .",
    ).tag(config=True)
    generate_config = Bool(False, help="Write the configuration file with all settings and their defaults, and end.")
    generate_config.tag(config=True)

    ip = Unicode(
        help="The address to listen at; 127.0.0.1 unless a hub's JUPYTERHUB_SERVICE_URL says otherwise. An empty text "
        "or 0.0.0.0 means all addresses of this machine: put a proxy with TLS in front."
    ).tag(config=True)
    port = Integer(
        min=0, max=65535, help=f"The port to listen at; 0 takes a free one. {PORT}, or that of JUPYTERHUB_SERVICE_URL."
    ).tag(config=True)
    base_url = Unicode(
        help="The path below which the service is: / or the hub's JUPYTERHUB_SERVICE_PREFIX (/services/mlops/)."
    ).tag(config=True)
    db_url = Unicode(
        help="The database: postgresql://user:password@host/database, or sqlite:////data/mlops.db. "
        "MLOPS_TRACKING_URL, else the SQLite file in MLOPS_HOME. A new database is filled; a PostgreSQL database of an "
        "older version is upgraded by `jupyter mlops db upgrade` only, an SQLite file at start, after a copy was made."
    ).tag(config=True)
    artifacts_url = Unicode(
        help="Where files are: a folder or an fsspec URL. MLOPS_ARTIFACTS_URL, else what the database recorded, else a "
        "folder beside the SQLite file."
    ).tag(config=True)
    tokens_file = Unicode(
        help="The file of the tokens that count, made by `jupyter mlops token create`; with it no hub is asked."
    ).tag(config=True)
    threads = Integer(
        32,
        min=1,
        max=1000,
        help="How many requests may use the database at once, each with a connection of its own; others wait. Of "
        "PostgreSQL all replicas together need one more each, and may not exceed its max_connections (100).",
    ).tag(config=True)
    request_seconds = Float(
        75.0,
        min=1.0,
        help="How long a request is awaited on an open connection, in seconds, before that is closed: until its "
        "headers are there, and as long again for its body; of a file no piece may be awaited for longer. A proxy in "
        "front should keep unused connections for less.",
    ).tag(config=True)
    max_connections = Integer(
        4096,
        min=16,
        help="How many connections may be open, live events not counted. One more takes the place of the one that has "
        "kept the service waiting for the longest time, and is answered 503 when all are being answered. Less where "
        "the system allows fewer open files.",
    ).tag(config=True)
    requests_per_second = Float(
        0.0,
        min=0.0,
        help="How many requests a user may make in a second, on average, at each replica; what 10 s are worth may come "
        "at once. More are answered 429 with the time to wait, which clients keep to. 0 for any number.",
    ).tag(config=True)
    max_body_bytes = Integer(
        32 << 20,
        min=4 << 20,
        help="How many bytes a request may have that is no file; more are answered 413. Clients send 2 MB of logged "
        "values at once.",
    ).tag(config=True)
    lost_after_seconds = Float(
        300.0,
        min=1.0,
        help="How long the runner of a run may be silent, in seconds, before the run is ended as lost; runners tell "
        "each 15 s that they live. Counts from the start of this service; a run whose runner is heard again "
        "goes on.",
    ).tag(config=True)

    link_seconds = Integer(
        0,
        min=0,
        max=3600,
        help="How long a link to the object store may be used, in seconds. With it, this package's own clients (Python "
        "and commands) get large files from S3, Google Cloud Storage or Azure itself, by a link that is signed when "
        "they ask; whoever sees the link can read that file until then. 0: all files come through the service.",
    ).tag(config=True)

    collect_after_days = Float(
        0.0,
        min=0.0,
        help="After how many days the service collects, once a day, what was deleted: until then it can be restored, "
        "and counts. 0 leaves it to `jupyter mlops gc`.",
    ).tag(config=True)

    log_json = Bool(
        False,
        help="Write the log as one JSON object a line, and a line for each request: its id (which callers see in their "
        "errors), who asked for what, how it was answered, and in which time.",
    ).tag(config=True)

    public_url = Unicode(
        help="Where browsers reach the service, for links in messages and in what commands print: "
        "https://hub.example.org/services/mlops/. JUPYTERHUB_PUBLIC_URL, which a hub sets that has public_url or "
        "subdomain_host; without it messages have no links."
    ).tag(config=True)
    webhook_networks = List(
        Unicode(),
        help="Networks that webhooks may lead to although they are not public: ['10.2.0.0/16', '127.0.0.1']. Any "
        "other address that is private, link-local or of this machine itself is refused.",
    ).tag(config=True)
    smtp_url = Unicode(
        help="The server that takes mail for webhooks to mailto: addresses: smtp://USER@HOST:587 (encrypted by "
        "STARTTLS), smtps://USER@HOST:465 or smtp+plain://HOST:25. Its password is in MLOPS_SMTP_PASSWORD. Without it "
        "no mail is sent."
    ).tag(config=True)
    mail_from = Unicode(help="The address that mails come from; needed with smtp_url.").tag(config=True)
    mail_domains = List(
        Unicode(), help="Mail goes to addresses of these domains only; when empty, of the domain of mail_from."
    ).tag(config=True)

    def __init__(self, when_ready: Callable[[str], None] | None = None, **kwargs: Any) -> None:
        """``when_ready`` is told the URL as soon as requests are answered."""
        super().__init__(**kwargs)
        self._when_ready = when_ready
        self._listens_at = 0

    @default("ip")
    def _ip(self) -> str:
        return self._given_by_hub.hostname or "127.0.0.1"

    @default("port")
    def _port(self) -> int:
        return self._given_by_hub.port or PORT

    @default("base_url")
    def _base_url(self) -> str:
        if not self.has_hub:
            return "/"
        base, name = os.environ.get("JUPYTERHUB_BASE_URL", "/"), os.environ["JUPYTERHUB_SERVICE_NAME"]
        return os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or f"{base}services/{name}/"

    @default("public_url")
    def _public_url(self) -> str:
        return os.environ.get("JUPYTERHUB_PUBLIC_URL", "") if self.has_hub else ""

    @default("db_url")
    def _db_url(self) -> str:
        return location.default_url()

    @default("log_level")
    def _log_level(self) -> int:
        return logging.INFO

    @default("log_format")
    def _log_format(self) -> str:
        return "[%(levelname)1.1s %(asctime)s %(name)s] %(message)s"

    @default("logging_config")
    def _logging_config(self) -> dict[str, Any]:
        return self._logging()

    @observe("log_json")
    def _choose_log_format(self, change: Any) -> None:  # noqa: ARG002
        self.logging_config = self._logging()

    def _logging(self) -> dict[str, Any]:
        loggers = {name: {"level": "WARNING", "handlers": ["console"]} for name in ("jupyter_mlops", "tornado")}
        formatter = {"console": {"class": "jupyter_mlops.service.requestlog.JsonFormatter"}} if self.log_json else {}
        return {"loggers": loggers, "formatters": formatter}

    @validate("base_url")
    def _with_slashes(self, proposal: Any) -> str:
        return f"/{proposal.value.strip('/')}/".replace("//", "/")

    @property
    def has_hub(self) -> bool:
        """Whether a hub says who callers are: this is one of its services, and there is no file of tokens."""
        return not self.tokens_file and bool(os.environ.get("JUPYTERHUB_SERVICE_NAME"))

    @property
    def _given_by_hub(self) -> SplitResult:
        """Where the hub wants the service. A user's server has such a variable too, which means that server."""
        return urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL", "") if self.has_hub else "")

    @property
    def url(self) -> str:
        """Where this service itself is reached, once it listens."""
        host = self.ip if self.ip not in ("", "0.0.0.0", "::") else "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self._listens_at}{self.base_url}"

    @catch_config_error
    def initialize(self, argv: list[str] | None = None) -> None:
        self.parse_command_line(argv)
        if self.extra_args:
            raise InvalidValue(f"{self.extra_args[0]!r} is no setting; write --MLOpsService.NAME=VALUE")
        path = Path(self.config_file)
        if self.generate_config:
            return
        if path.exists():
            self.load_config_file(path.name, path=str(path.absolute().parent))
        elif "config_file" in self.cli_config.MLOpsService:
            raise InvalidValue(f"there is no configuration file {path}")

    def start(self) -> None:
        """Serve until SIGINT or SIGTERM; with ``generate_config``, write the configuration file."""
        if self.generate_config:
            self._write_config()
            return
        if not self.tokens_file and not self.has_hub:
            raise InvalidValue(
                "nothing says who the callers are: give --tokens FILE (made by `jupyter mlops token create`), or start "
                "this as a service of a JupyterHub, which sets JUPYTERHUB_SERVICE_NAME and more"
            )
        logging.getLogger("jupyter_mlops").setLevel(cast("int | str", self.log_level))
        sockets = listening(self.ip, self.port)
        self._listens_at = sockets[0].getsockname()[1]
        link = supervise(sockets, self.log, STOP_SECONDS)
        # From here on this is a serving process. What it needs, its supervisor has not imported.
        from jupyter_mlops.hub.serving import Serving

        link.end_with_supervisor(STOP_SECONDS)
        Serving(self, STOP_SECONDS).run(sockets, lambda: self._tell_ready(link))

    def _tell_ready(self, link: Link) -> None:
        link.ready()
        if link.first and self._when_ready is not None:
            self._when_ready(self.url)

    def _write_config(self) -> None:
        path = Path(self.config_file)
        if path.exists():
            raise InvalidValue(f"{path} exists; give another name with --config")
        try:
            from jupyter_mlops.hub.identity import HubIdentity

            self.classes = [*self.classes, HubIdentity]
        except ModuleNotFoundError:
            # Without a hub's package nobody can use its settings here.
            pass
        path.write_text(self.generate_config_file(), encoding="utf-8")
        self.log.info("%s was written", path)
