from __future__ import annotations

import getpass
import subprocess
import sys
from pathlib import Path

import jupyter_core.paths
import pytest

from jupyter_mlops.core.errors import InvalidValue, MissingDependency
from jupyter_mlops.core.records import NewRun
from jupyter_mlops.tracker import location
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker
from jupyter_mlops.tracker.protocol import Tracker


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (location.TRACKING_URL, location.ARTIFACTS_URL, "JUPYTER_DATA_DIR", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(location.HOME, str(tmp_path / "home"))


def store_file(tracker: Tracker, folder: Path) -> bool:
    """Whether a file put with ``tracker`` lands in ``folder``."""
    run = tracker.runs.create(NewRun(experiment_id=tracker.experiments.ensure("e").experiment_id))
    folder.mkdir(parents=True, exist_ok=True)
    before = sum(path.is_file() for path in folder.rglob("*"))
    (source := folder.parent / "file.txt").write_text(run.run_id)
    tracker.artifacts.put(run.run_id, "file.txt", source)
    return sum(path.is_file() for path in folder.rglob("*")) > before


def test_without_a_url_the_embedded_store_is_made_private(tmp_path: Path) -> None:
    with connect() as tracker:
        assert isinstance(tracker, EmbeddedTracker)
        assert tracker.principal.name == getpass.getuser()
        assert tracker.url == f"sqlite:///{tmp_path}/home/mlops.db"
        assert store_file(tracker, tmp_path / "home" / "artifacts")
    assert (tmp_path / "home").stat().st_mode & 0o077 == 0


def test_the_environment_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(location.TRACKING_URL, f"sqlite:///{tmp_path}/other.db")
    monkeypatch.setenv(location.ARTIFACTS_URL, str(tmp_path / "files"))
    with connect() as tracker:
        assert tracker.url == f"sqlite:///{tmp_path}/other.db"
        assert store_file(tracker, tmp_path / "files")
    assert not (tmp_path / "home").exists()


def test_the_place_of_files_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/mlops.db"
    monkeypatch.chdir(tmp_path)
    with connect(url, artifacts="given") as tracker:
        assert store_file(tracker, tmp_path / "given")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with connect(url) as tracker:
        assert store_file(tracker, tmp_path / "given")
    with connect(url, artifacts=f"{tmp_path}/given/") as tracker:
        assert store_file(tracker, tmp_path / "given")


def test_files_are_in_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/mlops.db"
    connect(url).close()
    with connect(url, artifacts=tmp_path / "second") as tracker:  # nothing was stored yet
        assert store_file(tracker, tmp_path / "second")
    for _ in range(2):
        with pytest.raises(InvalidValue, match=f"{tmp_path}/second, not in {tmp_path}/third"):
            connect(url, artifacts=tmp_path / "third")
        monkeypatch.setenv(location.ARTIFACTS_URL, f"{tmp_path}/third")


@pytest.mark.parametrize(
    "place",
    [
        "sftp://ann:{}@host/files",
        "simplecache::ftp://ann:{}@host/files",
        "abfs://files@account.dfs.core.windows.net/x?account_key={}",
    ],
)
def test_a_secret_in_the_place_of_files_is_not_kept(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, secret = f"sqlite:///{tmp_path}/mlops.db", "Zx81swordfish"
    with pytest.raises(InvalidValue, match=r"FSSPEC_\w+_PASSWORD") as refused:
        connect(url, artifacts=place.format(secret))
    monkeypatch.setenv(location.ARTIFACTS_URL, place.format(secret))
    with pytest.raises(InvalidValue):
        connect(url)
    assert secret not in refused.value.message
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for harmless in ("abfs://files@account.dfs.core.windows.net/x", "sftp://ann@host/files", "s3://bucket/a=1"):
        connect(url, artifacts=harmless).close()


def test_a_place_that_cannot_be_used_is_named_before_anything_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    url = f"sqlite:///{tmp_path}/mlops.db"
    with connect(url, artifacts="simplecache::s3://bucket") as tracker:
        assert tracker.runs.search().items == ()
        with pytest.raises(MissingDependency, match="pip install s3fs"):
            tracker.artifacts.check_location()
    with connect(url, artifacts="nonsense://bucket") as tracker, pytest.raises(InvalidValue, match="nonsense"):
        tracker.artifacts.check_location()
    (tmp_path / "file").touch()
    for place in (str(tmp_path / "file"), f"file://{tmp_path}/file/x"):
        with connect(url, artifacts=place) as tracker, pytest.raises(InvalidValue, match="file is no folder"):
            tracker.artifacts.check_location()
    for place in ("memory://bucket", str(tmp_path / "files"), f"file://{tmp_path}/files"):
        with connect(url, artifacts=place) as tracker:
            tracker.artifacts.check_location()


def test_a_store_can_be_moved_with_its_files(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    with connect(f"sqlite:///{tmp_path}/here/mlops.db") as tracker:
        assert store_file(tracker, tmp_path / "here" / "artifacts")
    (tmp_path / "here").rename(tmp_path / "there")
    with connect(f"sqlite:///{tmp_path}/there/mlops.db") as tracker:
        (run,) = tracker.runs.search().items
        assert b"".join(tracker.artifacts.open(run.run_id, "file.txt")).decode() == run.run_id
        assert store_file(tracker, tmp_path / "there" / "artifacts")


def test_a_postgresql_store_remembers_the_first_users_place(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_mlops.store import migrate
    from jupyter_mlops.store.database import Database

    database = Database(postgres_url)
    migrate.upgrade(database)
    database.close()
    connect(postgres_url).close()
    monkeypatch.setenv(location.HOME, str(tmp_path / "another"))
    with connect(postgres_url) as tracker:
        assert store_file(tracker, tmp_path / "home" / "artifacts")


def test_a_relative_file_stays_where_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with connect("sqlite:///mlops.db") as tracker:
        monkeypatch.chdir("/")
        tracker.experiments.create("e")
        assert tracker.url == f"sqlite:///{tmp_path}/mlops.db"
    assert (tmp_path / "mlops.db").exists()


def test_a_service_is_opened_when_it_is_first_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with connect("https://hub.example/services/mlops/") as tracker:
        assert tracker.url == "https://hub.example/services/mlops"
    with pytest.raises(InvalidValue, match="knows where files go"):
        connect("https://hub.example/services/mlops", artifacts="files")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://user:secret@hub/services/mlops", "MLOPS_TRACKING_TOKEN"),
        ("http://", "no URL of a service"),
        ("http://hub/?db=1", "no URL of a service"),
    ],
)
def test_what_is_no_url_of_a_service_is_refused(url: str, told: str) -> None:
    with pytest.raises(InvalidValue, match=told) as refused:
        connect(url)
    assert "secret" not in refused.value.message


def test_the_token_of_a_hub_is_shown_to_the_service_that_the_hub_named_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(location.TRACKING_TOKEN, raising=False)
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "from the hub")
    monkeypatch.setenv(location.TRACKING_URL, "https://hub.example/services/mlops")
    assert location.token_for("https://hub.example/services/mlops") == "from the hub"
    for other in ("https://evil.example/services/mlops", "http://hub.example/services/mlops", "https://hub.example:8/"):
        assert location.token_for(other) is None
    monkeypatch.setenv(location.TRACKING_TOKEN, "my own")
    assert location.token_for("https://evil.example/") == "my own"
    monkeypatch.delenv(location.TRACKING_TOKEN)
    monkeypatch.delenv(location.TRACKING_URL)
    assert location.token_for("https://hub.example/services/mlops") is None


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(location.HOME, str(tmp_path / "file" / "home"))
    with pytest.raises(InvalidValue, match=location.HOME):
        connect()


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"JUPYTER_DATA_DIR": "/somewhere/data"},
        {"XDG_DATA_HOME": "/somewhere/share"},
        {"JUPYTER_PLATFORM_DIRS": "1"},
        {"JUPYTER_PLATFORM_DIRS": "0", "XDG_DATA_HOME": "/somewhere/share"},
    ],
)
def test_the_data_folder_is_jupyters(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(location.HOME)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert location.home() == Path(jupyter_core.paths.jupyter_data_dir()) / "mlops"


def test_importing_the_door_loads_no_database_layer() -> None:
    code = (
        "import sys, jupyter_mlops.tracker.connect, jupyter_mlops.tracker.location as l; l.default_url(); "
        "assert not {'sqlalchemy', 'alembic', 'fsspec', 'jupyter_core'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
