"""Retention: what is past its time goes, once and on record; what promoted models descend from never does."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jupyter_mlops.core.access import Principal, Scope
from jupyter_mlops.core.errors import InvalidValue, NotFound, PermissionDenied
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.logged_model import ModelRole, ModelUse
from jupyter_mlops.core.records import (
    Batch,
    Collected,
    Dataset,
    Experiment,
    Input,
    Lifecycle,
    Metric,
    NewRun,
    RunChange,
    RunStatus,
    Tag,
)
from jupyter_mlops.core.retention import Expiry, Retention, whole
from jupyter_mlops.store.database import Database
from jupyter_mlops.tracker.embedded import EmbeddedTracker, OpenStore
from tests.contract.conftest import Opener

DAY = 24 * 60 * 60 * 1000
ADMIN = Principal("boss", scope=Scope.ADMIN)
RED = Principal("ada", frozenset({"red"}))


class House:
    """A store whose clock is set by hand, in days."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.day = 20_000.0
        self._database, self._folder = database, folder
        self.boss = self.open(ADMIN)
        self.ada = self.boss.acting_for(RED)
        self.experiment = self.ada.experiments.create("churn")

    def open(self, principal: Principal) -> EmbeddedTracker:
        """As another process would."""
        return EmbeddedTracker(OpenStore(self._database, str(self._folder), self.now), principal)

    def now(self) -> int:
        return round(self.day * DAY)

    def run(
        self,
        age: float,
        status: RunStatus = RunStatus.FINISHED,
        *,
        name: str = "r",
        batch: Batch | None = None,
        parent: str | None = None,
        experiment: Experiment | None = None,
    ) -> str:
        """One that ended ``age`` days ago."""
        at = round((self.day - age) * DAY)
        made = self.ada.runs.create(
            NewRun(
                experiment_id=(experiment or self.experiment).experiment_id,
                name=name,
                start_time=at - 1000,
                parent_run_id=parent,
                batch=batch or Batch(),
            )
        )
        if status.ended:
            self.ada.runs.change(made.run_id, RunChange(status=status, end_time=at))
        return made.run_id

    def register(self, run_id: str, name: str = "model") -> None:
        self.ada.artifacts.put(run_id, "m/MLmodel", io.BytesIO(b"flavors: {python_function: {}}"))
        self.ada.models.register(name, run_id, "m")

    def there(self, *run_ids: str) -> list[bool]:
        return [self.ada.runs.get(run_id).lifecycle is Lifecycle.ACTIVE for run_id in run_ids]

    def expired(self) -> set[str]:
        """What is deleted now, which is what was said before that it would be."""
        foretold = self.boss.retention.preview()
        assert self.boss.retention.apply() == foretold
        assert self.boss.retention.apply().runs == 0
        assert foretold.runs == len(foretold.listed) == sum(foretold.by_owner.values())
        return {each.run_id for each in foretold.listed}


@pytest.fixture
def house(database: Database, tmp_path: Path) -> Iterator[House]:
    house = House(database, tmp_path)
    yield house
    house.boss.close()


def test_what_is_past_its_time_goes_and_comes_back(house: House) -> None:
    old, young = house.run(91), house.run(89)
    failed, killed = house.run(15, RunStatus.FAILED), house.run(15, RunStatus.KILLED)
    just_failed, going = house.run(13, RunStatus.FAILED), house.run(400, RunStatus.RUNNING)
    assert house.expired() == set()
    house.boss.retention.set("group:red", Retention(days=90, failed_days=14))
    told = {each.run_id: each.why for each in house.boss.retention.preview().listed}
    assert told == {
        old: "it finished 91 days ago; runs are kept for 90",
        failed: "it failed 15 days ago; such runs are kept for 14",
        killed: "it was killed 15 days ago; such runs are kept for 14",
    }
    assert house.expired() == set(told)
    assert house.there(old, young, failed, just_failed, going) == [False, True, False, True, True]
    entry = house.boss.audit(limit=1)[0]
    assert (entry.action, entry.user, entry.detail["owner"]) == ("run.expire", "boss", "group:red")
    house.ada.runs.restore(old)
    assert house.there(old) == [True]
    assert house.boss.gc() == Collected(runs=2)


def test_whose_rule_counts(house: House) -> None:
    mine = house.ada.experiments.create("mine", owner="ada")
    ours, own = house.run(50), house.run(50, experiment=mine)
    house.boss.retention.set("*", Retention(days=40))
    house.boss.retention.set("group:*", Retention(days=60))
    assert house.expired() == {own}
    house.boss.retention.set("group:red", Retention(failed_days=1))
    assert house.expired() == set()
    house.boss.retention.set("group:*", Retention(days=45))
    assert house.expired() == set()
    house.boss.retention.set("group:red", None)
    assert house.expired() == {ours}
    assert {rule.subject for rule in house.boss.retention.rules()} == {"*", "group:*"}


def test_what_promoted_models_descend_from_stays(house: House) -> None:
    house.boss.retention.set("group:red", Retention(days=30))
    sweep = house.run(100, name="sweep")
    source, teacher, first = house.run(100), house.run(100), house.run(100)
    logged = house.ada.logged_models.create(house.experiment.experiment_id, name="t", run_id=teacher)
    batch = Batch(
        inputs=(Input(Dataset("features", "d", source=f"runs:/{source}/features.parquet")),),
        tags=(Tag("mlops.rerun.of", first),),
    )
    promoted = house.run(100, batch=batch, parent=sweep)
    house.ada.logged_models.use(promoted, [ModelUse(run_id=promoted, model_id=logged.model_id, role=ModelRole.INPUT)])
    sibling, requested, loaded, was, merely = (house.run(100, parent=sweep) for _ in range(5))
    for number, run_id in enumerate((promoted, requested, loaded, was, merely)):
        house.register(run_id, f"model {number}")
    house.ada.models.set_alias("model 0", "live", 1)
    house.ada.promotions.request("model 1", 1)
    house.ada.models.consume("model 2", 1)
    house.ada.models.set_alias("model 3", "live", 1)
    house.ada.models.delete_alias("model 3", "live")
    assert house.expired() == {sibling, merely}
    kept = [sweep, promoted, source, teacher, first, requested, loaded, was]
    assert house.there(*kept) == [True] * len(kept)
    # Nor is it collected when a person has deleted it, as long as the version is there.
    house.ada.runs.delete(sweep)
    assert house.boss.gc(dry_run=True) == house.boss.gc() == Collected(runs=2)
    assert house.there(*kept)[:2] == [False, False]
    for name in ("model 2", "model 3"):
        house.ada.models.delete(name)
    assert house.boss.gc().runs == 2
    for gone in (loaded, was):
        with pytest.raises(NotFound):
            house.ada.runs.get(gone)


def test_the_best_the_tagged_and_their_parents_stay(house: House) -> None:
    house.boss.retention.set("group:red", Retention(days=30, keep_best=2, metric="loss", minimize=True))

    def scored(value: float, parent: str | None = None) -> str:
        return house.run(100, batch=Batch(metrics=(Metric("loss", value, 1),)), parent=parent)

    parent = house.run(100)
    child = house.run(100, parent=parent)
    best, second, third = scored(0.1, parent=child), scored(0.2), scored(0.3)
    nan = scored(float("nan"))
    tagged = house.run(100, batch=Batch(tags=(Tag("mlops.keep", ""),)))
    lonely_parent = house.run(100)
    lonely_child = house.run(10, parent=lonely_parent)
    whole_parent = house.run(100)
    whole_children = {house.run(50, parent=whole_parent) for _ in range(3)}
    foretold = house.boss.retention.preview()
    assert foretold.spared == 6
    assert house.expired() == {third, nan, whole_parent, *whole_children}
    kept = (parent, child, best, second, tagged, lonely_parent, lonely_child)
    assert house.there(*kept) == [True] * len(kept)


def test_many_are_looked_through_page_by_page(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_mlops.store import retention

    monkeypatch.setattr(retention, "_AT_ONCE", 3)
    house.boss.retention.set("group:red", Retention(days=30))
    parent = house.run(100)
    old = {house.run(90 - number, parent=parent) for number in range(10)}
    kept = house.run(100, batch=Batch(tags=(Tag("mlops.keep", "yes"),)))
    house.run(5)
    assert house.expired() == {parent, *old}
    assert house.there(kept) == [True]


def test_of_very_many_runs_the_answer_comes_in_pieces(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_mlops.store.retention._AT_ONCE", 3)
    monkeypatch.setattr("jupyter_mlops.tracker.embedded._context.ANSWER_SECONDS", 0.0)
    house.boss.retention.set("group:red", Retention(days=30))
    other = house.ada.experiments.create("other")
    old = {house.run(100 - number, experiment=other if number % 2 else None) for number in range(20)}
    kept = house.run(100, batch=Batch(tags=(Tag("mlops.keep", "yes"),)))
    first = house.boss.retention.preview()
    assert (first.runs + first.spared, len(first.listed)) == (3, first.runs)
    assert first.next_page_token is not None
    foretold = whole(lambda token: house.boss.retention.preview(page_token=token))
    assert {each.run_id for each in foretold.listed} == old
    assert (foretold.runs, foretold.spared, foretold.by_owner) == (20, 1, {"group:red": 20})
    assert whole(lambda token: house.boss.retention.apply(page_token=token)) == foretold
    assert house.there(kept, *old) == [True] + 20 * [False]
    for token in ("", "x", first.next_page_token[:-2]):
        with pytest.raises(InvalidValue, match="page_token"):
            house.boss.retention.preview(page_token=token)
    # What services do by themselves, they do wholly.
    for run_id in old:
        house.ada.runs.restore(run_id)
    done = house.boss.keep_house(0.5)
    assert done is not None
    assert (done[0].runs, done[1]) == (20, Collected())
    house.day += 1
    done = house.boss.keep_house(0.5)
    assert done is not None
    assert (done[0].runs, done[1]) == (0, Collected(runs=20))


def test_services_do_it_once_a_day(house: House) -> None:
    first, second = house.boss, house.open(ADMIN)
    assert first.keep_house(0) is None
    house.boss.retention.set("group:red", Retention(days=30))
    old, also = house.run(31), house.run(30.5)
    done = [each.keep_house(0) for each in (second, first)]
    assert [None if each is None else (each[0].runs, each[1]) for each in done] == [(2, Collected()), None]
    house.ada.runs.restore(also)
    house.day += 0.9
    assert first.keep_house(1.0) is None
    house.day += 0.2
    kept = first.keep_house(1.0)
    assert kept is not None
    assert (kept[0].runs, kept[1]) == (1, Collected(runs=1))
    assert second.keep_house(1.0) is None
    with pytest.raises(NotFound):
        house.ada.runs.get(old)
    with pytest.raises(PermissionDenied):
        house.ada.keep_house(0)


def test_an_upload_that_nobody_goes_on_with_gives_its_room_back(house: House) -> None:
    run_id, upload = house.run(0, RunStatus.RUNNING), new_id()
    house.ada.artifacts.put_part(run_id, upload, "a", 0, io.BytesIO(bytes(600)))

    def held() -> int:
        (standing,) = house.boss.quotas.standing("group:red")
        return standing.usage.bytes

    house.day += 0.9
    assert (house.boss.keep_house(0), held()) == (None, 600)
    house.ada.artifacts.put_part(run_id, upload, "a", 600, io.BytesIO(bytes(100)))
    house.day += 0.9
    assert (house.boss.keep_house(0), held()) == (None, 700)
    house.day += 0.2
    assert (house.boss.keep_house(0), held()) == ((Expiry(), Collected()), 0)
    assert house.ada.artifacts.parts(run_id, upload) == ()
    assert house.boss.gc() == Collected(blobs=2, bytes=700)
    house.day += 2
    assert house.boss.keep_house(0) is None


def test_a_clock_that_was_wrong_once_does_not_end_it(house: House) -> None:
    house.boss.retention.set("group:red", Retention(days=30))
    today = house.day
    house.day += 10_000
    assert house.boss.keep_house(0) is not None
    house.day = today
    old = house.run(31)
    # Those of two services may differ a little.
    done = []
    for behind in (0, -0.001):
        house.day = today + behind
        done.append(house.boss.keep_house(0))
    assert [None if each is None else each[0].runs for each in done] == [1, None]
    assert house.there(old) == [False]


def test_who_sees_which_rules(open_tracker: Opener) -> None:
    boss, ada, bo = (open_tracker(each) for each in (ADMIN, RED, Principal("bo")))
    for subject in ("*", "group:red", "ada", "bo"):
        boss.retention.set(subject, Retention(days=30))

    def subjects(of: Callable[[], object]) -> set[str]:
        return {rule.subject for rule in of()}  # type: ignore[attr-defined]

    assert subjects(boss.retention.rules) == {"*", "group:red", "ada", "bo"}
    assert subjects(ada.retention.rules) == {"*", "group:red", "ada"}
    assert subjects(bo.retention.rules) == {"*", "bo"}
    with pytest.raises(InvalidValue):
        boss.retention.set("bo", Retention())
    with pytest.raises(NotFound):
        bo.retention.preview("group:red")
    assert bo.retention.preview().runs == 0
