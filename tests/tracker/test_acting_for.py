"""Views of one open store for other principals."""

from __future__ import annotations

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jupyter_mlops.core.access import Principal
from jupyter_mlops.core.errors import Conflict, NotFound, Unavailable
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.records import Batch, NewRun, Tag
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker


@pytest.fixture
def opened(sqlite_url: str, tmp_path: Path) -> EmbeddedTracker:
    tracker = connect(sqlite_url, artifacts=tmp_path / "artifacts")
    assert isinstance(tracker, EmbeddedTracker)
    return tracker


def test_a_view_is_the_same_store_as_another_sees_it(opened: EmbeddedTracker) -> None:
    with opened:
        ada = opened.acting_for(Principal("ada"))
        experiment = ada.experiments.create("churn")
        assert experiment.owner == "ada"
        assert opened.experiments.get(experiment.experiment_id) == experiment
        with pytest.raises(NotFound):
            opened.acting_for(Principal("bo")).experiments.get(experiment.experiment_id)
        assert ada.acting_for(opened.principal).experiments.get(experiment.experiment_id) == experiment
        assert (ada.url, ada.database) == (opened.url, opened.database)


def test_closing_a_view_leaves_the_store_open_and_closing_the_store_ends_its_views(opened: EmbeddedTracker) -> None:
    with opened.acting_for(Principal("ada")) as ada:
        experiment = ada.experiments.create("churn")
    run = opened.runs.create(NewRun(experiment_id=experiment.experiment_id))
    view = opened.acting_for(Principal("ada"))
    assert view.runs.get(run.run_id) == run
    opened.close()
    with pytest.raises(Conflict, match="closed"):
        view.runs.get(run.run_id)
    with pytest.raises(Conflict, match="closed"):
        view.runs.log(run.run_id, Batch(tags=(Tag("a", "b"),)))


def test_all_views_share_one_writer_also_when_they_begin_at_once(opened: EmbeddedTracker) -> None:
    with opened:
        experiment = opened.experiments.create("churn")
        barrier = threading.Barrier(8)

        def begin() -> None:
            view = opened.acting_for(opened.principal)
            barrier.wait()
            view.runs.create(NewRun(experiment_id=experiment.experiment_id))

        before = writers()
        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(opened.runs.search().items) == 8
        assert len(writers() - before) == 1


def writers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "mlops-group-commit"}


def test_a_commit_that_is_sent_again_meanwhile_is_not_done_twice(opened: EmbeddedTracker) -> None:
    with opened:
        experiment = opened.experiments.create("churn")
        run = opened.runs.create(NewRun(experiment_id=experiment.experiment_id))
        upload = new_id()
        for offset, content in ((0, b"one "), (4, b"two")):
            opened.artifacts.put_part(run.run_id, upload, "a", offset, io.BytesIO(content))
        files = {"a": hashlib.sha256(b"one two").hexdigest()}
        objects = opened._context.blobs.objects
        with ThreadPoolExecutor() as pool:
            # Nobody else writes to the database, so that the first commit waits where all is put together.
            with opened.database.write():
                first = pool.submit(opened.artifacts.commit, run.run_id, upload, files)
                while len(list(objects.listing())) < 3:
                    assert not first.done()
                with pytest.raises(Unavailable, match="goes on"):
                    opened.artifacts.commit(run.run_id, upload, files)
            assert first.result() == opened.artifacts.walk(run.run_id)
        assert opened.artifacts.commit(run.run_id, upload, files) == first.result()
