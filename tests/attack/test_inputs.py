"""Bad input at every door of the tracker: refused in a sentence, nothing left of it; what is accepted reads back."""

from __future__ import annotations

import base64
import inspect
import io
import itertools
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nasty import VALUES, problem

from jupyter_mlops.core.checks import CheckResult, Verdict
from jupyter_mlops.core.errors import InvalidValue, MLOpsError
from jupyter_mlops.core.ids import new_id
from jupyter_mlops.core.policy import Policy
from jupyter_mlops.core.quotas import Quota
from jupyter_mlops.core.records import (
    Batch,
    Dataset,
    Input,
    Lifecycle,
    Metric,
    NewRun,
    Param,
    Progress,
    Reason,
    ReasonKind,
    RunChange,
    RunKind,
    Runner,
    RunStatus,
    StreamPosition,
    Tag,
    View,
)
from jupyter_mlops.core.retention import Retention
from jupyter_mlops.store import schema
from jupyter_mlops.tracker import operations
from jupyter_mlops.tracker.connect import connect
from jupyter_mlops.tracker.embedded import EmbeddedTracker

NOUNS = {noun: kind for noun, kind in operations.NOUNS.items() if noun}
ROWS = sa.select(sa.literal(0)).union_all(
    *(sa.select(sa.func.count()).select_from(table) for table in schema.metadata.sorted_tables if table.name != "event")
)
steady = settings(
    derandomize=True,
    deadline=None,
    max_examples=50,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Door:
    """A tracker with one of each thing, and arguments that its methods accept."""

    def __init__(self, tracker: EmbeddedTracker, folder: Path) -> None:
        self.tracker = tracker
        self.folder = folder
        self.numbers = itertools.count()
        self.experiment = tracker.experiments.create("base").experiment_id
        self.run = self.new_run()
        points = tuple(Metric("m", float(step), step, step) for step in range(5))
        tracker.runs.log(self.run, Batch(metrics=points, tags=(Tag("a", "b"),)))
        tracker.artifacts.put(self.run, "f.txt", io.BytesIO(b"hello"))
        self.logged = tracker.logged_models.create(self.experiment, name="m", run_id=self.run).model_id
        tracker.artifacts.put(self.run, "m/MLmodel", io.BytesIO(b"flavors: {sklearn: {}}"))
        tracker.models.register("model", self.run, "m")
        tracker.models.set_alias("model", "prod", 1)
        self.request = self.new_request()
        self.job = tracker.promotions.get(self.request).checks[0].job_id
        self.token = tracker.access_tokens.create("ci").token_id
        self.hook = tracker.webhooks.create("https://receiver.example/").webhook_id
        (folder / "source").mkdir()
        (folder / "source" / "a").write_text("x")

    def new(self) -> str:
        return f"n{next(self.numbers)}"

    def new_run(self, **fields: Any) -> str:
        return self.tracker.runs.create(NewRun(experiment_id=self.experiment, **fields)).run_id

    def new_shared(self) -> str:
        experiment_id = self.tracker.experiments.create(self.new()).experiment_id
        self.tracker.experiments.share(experiment_id, to_user="bo")
        return experiment_id

    def new_request(self) -> str:
        """An open one, for a model that is protected."""
        name = self.new()
        self.tracker.models.register(name, self.run, "m")
        self.tracker.policies.set(Policy(), model=name)
        return self.tracker.promotions.request(name, 1).request_id

    def rows(self) -> list[int]:
        with self.tracker.database.read() as connection:
            return list(connection.execute(ROWS).scalars())

    def good(self) -> dict[str, Callable[[], Any]]:
        """Arguments by their names; the exceptions are :meth:`special`."""
        return {
            "experiment_id": lambda: self.experiment,
            "experiment_ids": lambda: [self.experiment],
            "run_id": lambda: self.run,
            "name": self.new,
            "owner": lambda: "somebody",
            "tags": lambda: {"a": "b"},
            "filter": str,
            "order_by": tuple,
            "view": lambda: View.ACTIVE,
            "limit": lambda: 5,
            "page_token": lambda: None,
            "key": lambda: "m",
            "new": lambda: NewRun(experiment_id=self.experiment),
            "position": lambda: None,
            "batch": Batch,
            "change": RunChange,
            "text": lambda: self.run,
            "width": lambda: 5,
            "first": lambda: None,
            "last": lambda: None,
            "stream": lambda: "s",
            "path": lambda: "f.txt",
            "source": lambda: io.BytesIO(b"x"),
            "folder": lambda: self.folder / "source",
            "start": lambda: 0,
            "stop": lambda: None,
            "upload_id": new_id,
            "offset": lambda: 0,
            "total": lambda: 0,
            "files": dict,
            "destination": lambda: self.folder / self.new(),
            "description": str,
            "new_name": lambda: None,
            "version": lambda: 1,
            "reference": lambda: "1",
            "alias": lambda: "prod",
            "reason": str,
            "digest": lambda: "d",
            "before": lambda: None,
            "older_than_seconds": lambda: 1e9,
            "seconds": lambda: 60,
            "dry_run": lambda: True,
            "to_user": lambda: "bo",
            "to_group": lambda: None,
            "to_everyone": lambda: False,
            "role": lambda: "read",
            "restricted": lambda: False,
            "purpose": str,
            "model": lambda: "model",
            "request_id": lambda: self.request,
            "state": lambda: None,
            "requester": lambda: None,
            "at": lambda: None,
            "deleted": lambda: False,
            "round": lambda: None,
            "to": lambda: None,
            "policy": Policy,
            "names": tuple,
            "token_digest": lambda: None,
            "token": lambda: self.tracker.issue_token().token,
            "job_id": lambda: self.job,
            "claim": lambda: "x",
            "result": lambda: CheckResult(name="loads", verdict=Verdict.PASSED, summary="fine"),
            "url": lambda: "https://receiver.example/",
            "events": lambda: ("alias.moved",),
            "template": lambda: "json",
            "webhook_id": lambda: self.hook,
            "token_id": lambda: self.token,
            "scope": lambda: "write",
            "days": lambda: 90,
            "origin": str,
            "model_type": str,
            "params": tuple,
            "model_id": lambda: self.logged,
            "status": lambda: "READY",
            "uses": tuple,
            "run_ids": lambda: [self.run],
            "logged_model_id": lambda: None,
            "subject": lambda: "somebody",
            "quota": Quota,
            "everyone": lambda: False,
            "retention": lambda: Retention(days=30),
        }

    def special(self, noun: str, method: str) -> dict[str, Callable[[], Any]]:
        """Where an argument of that name must be something else."""
        made: dict[tuple[str, str], dict[str, Callable[[], Any]]] = {
            ("experiments", "delete"): {
                "experiment_id": lambda: self.tracker.experiments.create(self.new()).experiment_id
            },
            ("experiments", "unshare"): {"experiment_id": self.new_shared},
            ("experiments", "transfer"): {
                "experiment_id": lambda: self.tracker.experiments.create(self.new()).experiment_id
            },
            ("runs", "delete"): {"run_id": self.new_run},
            ("artifacts", "put"): {"path": self.new},
            ("artifacts", "put_folder"): {"path": self.new},
            ("artifacts", "put_part"): {"path": self.new},
            ("artifacts", "delete"): {"path": self.new},
            ("models", "create"): {"name": self.new},
            ("models", "delete"): {"name": lambda: self.tracker.models.create(self.new()).name},
            ("models", "transfer"): {"name": lambda: self.tracker.models.create(self.new()).name},
            ("models", "restrict"): {"name": lambda: "model"},
            ("models", "delete_alias"): {"name": lambda: "model", "alias": lambda: "none"},
            ("models", "delete_version"): {"name": lambda: "model", "version": lambda: 99},
            ("models", "refer"): {"name": lambda: "model", "source": lambda: "s3://bucket/model"},
            ("logged_models", "create"): {"run_id": lambda: None, "model_id": lambda: None},
            ("logged_models", "delete"): {
                "model_id": lambda: self.tracker.logged_models.create(self.experiment).model_id
            },
            ("models", "register"): {"name": lambda: "model", "path": lambda: "m"},
            ("models", "consume"): {"name": lambda: "model", "reference": lambda: "@prod"},
            ("promotions", "withdraw"): {"request_id": self.new_request},
            ("promotions", "reject"): {"request_id": self.new_request, "reason": lambda: "no"},
            ("policies", "get"): {"owner": lambda: None},
            ("policies", "set"): {"owner": lambda: None},
            ("policies", "history"): {"owner": lambda: None},
            ("quotas", "standing"): {"owner": lambda: None},
            ("people", "offboard"): {"to": lambda: "group:heirs"},
            ("people", "rename"): {"to": lambda: "somebody else"},
            ("access_tokens", "list"): {"owner": lambda: None},
            ("access_tokens", "revoke"): {"token_id": lambda: self.tracker.access_tokens.create("ci").token_id},
            ("webhooks", "create"): {"owner": lambda: None},
            ("webhooks", "list"): {"owner": lambda: None},
            ("webhooks", "delete"): {
                "webhook_id": lambda: self.tracker.webhooks.create("https://receiver.example/").webhook_id
            },
        }
        return made.get(
            (noun, method), {"name": lambda: "model", "path": lambda: "MLmodel"} if noun == "models" else {}
        )


@pytest.fixture
def door(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    # Relative paths among the values must not reach the project.
    monkeypatch.chdir(tmp_path)
    with connect(database_url, artifacts=tmp_path / "artifacts") as tracker:
        assert isinstance(tracker, EmbeddedTracker)
        yield Door(tracker, tmp_path)


def methods() -> Iterator[tuple[str, str]]:
    for noun, kind in NOUNS.items():
        for name, method in vars(kind).items():
            if not name.startswith("_") and callable(method):
                yield noun, name
    yield from (("", "audit"), ("", "issue_token"), ("", "revoke_token"), ("", "gc"))


def test_every_method_refuses_what_it_cannot_take(door: Door) -> None:
    problems = []
    for noun, name in methods():
        method = getattr(getattr(door.tracker, noun) if noun else door.tracker, name)
        good = {**door.good(), **door.special(noun, name)}
        arguments = list(inspect.signature(method).parameters)
        for argument in arguments:
            before, accepted = door.rows(), False
            for label, value in VALUES.items():
                given = {each: value if each == argument else good[each]() for each in arguments}
                found = problem(lambda given=given, method=method: _read(method(**given)))
                # Arguments of what takes away are made for it.
                accepted = accepted or found == "" or name in ("delete", "unshare", "withdraw", "reject", "revoke")
                if found not in ("", "refused"):
                    problems.append(f"{noun}.{name}({argument}={label}): {found}")
            if not accepted and door.rows() != before:
                problems.append(f"{noun}.{name}({argument}): a refused call has left something")
    assert problems == []
    assert door.tracker.runs.get(door.run).run_id == door.run


RECORDS: dict[str, tuple[Callable[[Door, Any], object], Any]] = {
    "batch": (lambda door, record: door.tracker.runs.log(door.run, record), Batch()),
    "metric": (lambda door, record: door.tracker.runs.log(door.run, Batch((record,))), Metric("k", 1.0, 1)),
    "param": (lambda door, record: door.tracker.runs.log(door.new_run(), Batch((), (record,))), Param("k", 1, "1")),
    "tag": (lambda door, record: door.tracker.runs.log(door.run, Batch(tags=(record,))), Tag("k", "v")),
    "input": (
        lambda door, record: door.tracker.runs.log(door.run, Batch(inputs=(record,))),
        Input(Dataset("a", "b"), "c", (Tag("k", "v"),)),
    ),
    "data set": (
        lambda door, record: door.tracker.runs.log(door.run, Batch(inputs=(Input(record),))),
        Dataset("a", "b"),
    ),
    "input's tag": (
        lambda door, record: door.tracker.runs.log(door.run, Batch(inputs=(Input(Dataset("a", "b"), "c", (record,)),))),
        Tag("k", "v"),
    ),
    "new run": (
        lambda door, record: door.tracker.runs.create(
            msgspec.structs.replace(record, experiment_id=record.experiment_id or door.experiment)
            if isinstance(record.experiment_id, str)
            else record
        ),
        NewRun(experiment_id=""),
    ),
    "change": (lambda door, record: door.tracker.runs.change(door.run, record), RunChange()),
    "reason": (
        lambda door, record: door.tracker.runs.change(door.run, RunChange(status=RunStatus.FAILED, reason=record)),
        Reason(kind=ReasonKind.ERROR, message="x"),
    ),
    "progress": (
        lambda door, record: door.tracker.runs.change(door.run, RunChange(progress=record)),
        Progress(done=1, total=2),
    ),
    "runner": (
        lambda door, record: door.tracker.runs.change(door.run, RunChange(runner=record)),
        Runner(host="h", boot_id="b", pid=1, started=1.0),
    ),
    "position": (
        lambda door, record: door.tracker.runs.log(door.run, Batch(), record),
        StreamPosition("s", 1),
    ),
    "position of a file": (
        lambda door, record: door.tracker.artifacts.put(door.run, door.new(), io.BytesIO(b"x"), record),
        StreamPosition("t", 1),
    ),
}


@pytest.mark.parametrize("what", RECORDS)
def test_every_field_of_a_record_refuses_what_it_cannot_hold(door: Door, what: str) -> None:
    write, good = RECORDS[what]
    problems = []
    for field, (label, value) in itertools.product(good.__struct_fields__, VALUES.items()):
        record = msgspec.structs.replace(good, **{field: value})
        found = problem(lambda record=record: write(door, record))
        if found not in ("", "refused"):
            problems.append(f"{field}={label}: {found}")
        # What was accepted must not make the run unreadable, for everyone who finds it.
        unreadable = problem(lambda: door.tracker.runs.get(door.run))
        if unreadable:
            problems.append(f"{field}={label} was stored: {unreadable}")
            door.run = door.new_run()
    assert problems == []
    assert problem(door.tracker.runs.search) == ""


# --- what is accepted reads back; what is refused leaves nothing -----------------------------------------------------

texts = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(), max_size=20),
    st.sampled_from([value for value in VALUES.values() if type(value) is str and len(value) < 10_000]),
)
# Mostly what is accepted: what is refused is refused for the first thing wrong.
names = st.one_of(*[st.text("ab é\u00df\U0001f600._-", min_size=1, max_size=9)] * 4, texts)
numbers = st.one_of(
    st.floats(), st.sampled_from([-0.0, math.nan, math.inf, 5e-324]), st.integers(), st.booleans(), st.none()
)
integers = st.one_of(st.integers(-3, 3), st.integers(), st.sampled_from([2**63 - 1, 2**63, -(2**63), 2**31, 10**30]))
json_values = st.recursive(
    st.one_of(numbers, texts), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)


def bits(value: object) -> object:
    """Equal where values are the same in type and bits."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, list):
        return [bits(item) for item in value]
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return type(value), value


@steady
@given(
    key=names,
    value=json_values,
    text=texts.filter(lambda text: "\0" not in text and "\ud800" not in text),
    tag=names,
    number=st.one_of(*[st.floats()] * 5, numbers),
    step=st.one_of(*[st.integers(-(2**63), 2**63 - 1)] * 5, integers),
    name=names,
)
def test_a_run_reads_back_or_is_refused_whole(
    door: Door, key: str, value: Any, text: str, tag: str, number: Any, step: int, name: str
) -> None:
    batch = Batch(
        metrics=(Metric("good", 1.0, 1), Metric(key, number, 1, step)),
        params=(Param(key, value, text),),
        tags=(Tag(key, tag),),
    )
    before = door.rows()
    found = problem(lambda: setattr(door, "made", door.new_run(name=name, source=text, batch=batch)))
    assert found in ("", "refused")
    if found:
        assert door.rows() == before
        return
    run = door.tracker.runs.get(door.made)  # type: ignore[attr-defined]
    assert (run.name, run.source) == (name, text)
    ((param,), (label,)) = run.params, run.tags
    assert (param.key, bits(param.value), param.text) == (key, bits(value), text)
    assert (label.key, label.value) == (key, tag)
    (point,) = door.tracker.runs.history(run.run_id, key).items if key != "good" else ((None),)
    if point is not None:
        assert (bits(point.value), point.step) == (bits(number), step)
        assert bits(next(m.value for m in run.metrics if m.key == key)) == bits(number)


@steady
@given(name=names, tags=st.dictionaries(names, texts, max_size=2), comment=texts, path=names)
def test_names_tags_comments_and_paths_read_back(
    door: Door, name: str, tags: dict[str, str], comment: str, path: str
) -> None:
    tracker = door.tracker
    if problem(lambda: tracker.experiments.create(name, tags=tags)) == "":
        found = tracker.experiments.find(name)
        assert (found.name, {tag.key: tag.value for tag in found.tags}) == (name, tags)
    if problem(lambda: tracker.models.create(name, description=comment, tags=tags)) == "":
        model = tracker.models.get(name)
        assert (model.name, model.description) == (name, comment)
        assert {tag.key: tag.value for tag in model.tags} == tags
    if problem(lambda: tracker.runs.comment(door.run, comment)) == "":
        assert tracker.runs.comments(door.run)[-1].text == comment
    if problem(lambda: tracker.artifacts.put(door.run, path, io.BytesIO(path.encode()))) == "":
        assert b"".join(tracker.artifacts.open(door.run, path)) == path.encode()
        assert path in [file.path for file in tracker.artifacts.walk(door.run)]


# --- records that came as JSON ---------------------------------------------------------------------------------------

optional_texts = st.none() | texts
reasons = st.fixed_dictionaries(
    {"kind": st.sampled_from([kind.value for kind in ReasonKind]), "message": texts},
    optional={"cell": integers, "source": optional_texts, "traceback": optional_texts},
)
runners = st.fixed_dictionaries(
    {"host": texts, "boot_id": texts, "pid": integers, "started": st.floats(allow_nan=False, allow_infinity=False)},
    optional={"kernel_pid": integers, "kernel_started": st.floats(allow_nan=False, allow_infinity=False)},
)
progresses = st.fixed_dictionaries({"done": integers, "total": integers}, optional={"failed": integers})
statuses = st.sampled_from([status.value for status in RunStatus])
changes = st.fixed_dictionaries(
    {},
    optional={
        "name": texts,
        "status": statuses,
        "reason": reasons,
        "end_time": integers,
        "hidden_state": texts,
        "progress": progresses,
        "runner": runners,
    },
)
new_runs = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from([kind.value for kind in RunKind]),
        "run_id": texts,
        "name": texts,
        "status": statuses,
        "start_time": integers,
        "parent_run_id": texts,
        "source": texts,
        "hidden_state": texts,
        "submitted_by": texts,
        "runner": runners,
    },
)


def decoded(plain: Any, kind: Any) -> Any:
    """A record as a service would get it; None where it is no such JSON."""
    try:
        return msgspec.json.decode(msgspec.json.encode(plain), type=kind)
    except (msgspec.DecodeError, UnicodeEncodeError, OverflowError):
        return None


@steady
@given(change=changes, new=new_runs, stream=texts, number=integers)
def test_records_from_json_are_checked(
    door: Door, change: dict[str, Any], new: dict[str, Any], stream: str, number: int
) -> None:
    runs = door.tracker.runs
    record = decoded({**new, "experiment_id": door.experiment}, NewRun)
    if record is not None:
        assert problem(lambda: runs.create(record)) in ("", "refused")
    alteration = decoded(change, RunChange)
    if alteration is not None:
        before = runs.get(door.run)
        outcome = problem(lambda: runs.change(door.run, alteration))
        assert outcome in ("", "refused")
        after = runs.get(door.run)
        if outcome == "refused":
            assert after == before
        for field in ("name", "status", "end_time", "hidden_state", "progress", "runner"):
            wanted = getattr(alteration, field)
            if outcome == "" and wanted is not None:
                assert getattr(after, field) == wanted
    position = decoded({"stream": stream, "number": number}, StreamPosition)
    if position is not None:
        outcome = problem(lambda: runs.log(door.run, Batch(), position))
        assert outcome in ("", "refused")
        if outcome == "":
            assert runs.watermark(stream) >= number


def test_absurd_values_of_a_run_are_refused(door: Door) -> None:
    runs = door.tracker.runs
    good = Runner(host="h", boot_id="b", pid=1, started=1.0)
    for change in (
        RunChange(end_time=-1),
        RunChange(end_time=253_402_300_800_000),
        RunChange(hidden_state="x" * 10_000_000),
        RunChange(progress=Progress(done=-1, total=1)),
        RunChange(runner=msgspec.structs.replace(good, pid=0)),
        RunChange(runner=msgspec.structs.replace(good, pid=2**40)),
        RunChange(runner=msgspec.structs.replace(good, started=math.nan)),
        RunChange(runner=msgspec.structs.replace(good, kernel_started=math.inf)),
        RunChange(runner=msgspec.structs.replace(good, host="a\0b")),
        RunChange(reason=Reason(kind=ReasonKind.ERROR, message="x" * 2_000_000)),
        RunChange(reason=Reason(kind=ReasonKind.ERROR, message="x", cell=-1)),
    ):
        with pytest.raises(InvalidValue):
            runs.change(door.run, change)
    assert runs.get(door.run).lifecycle is Lifecycle.ACTIVE


# --- page tokens -----------------------------------------------------------------------------------------------------


@steady
@given(
    listing=st.sampled_from(["experiments", "runs", "metrics", "models", "versions", "history"]),
    flips=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 255)), max_size=3),
    end=st.binary(max_size=6),
    cut=st.integers(0, 40),
)
def test_tampered_page_tokens_are_refused_or_name_a_place(
    door: Door, listing: str, flips: list[tuple[int, int]], end: bytes, cut: int
) -> None:
    tracker = door.tracker
    if len(tracker.experiments.search().items) < 2:
        tracker.experiments.create("second")
        tracker.models.create("second")
        tracker.models.register("model", door.run, "m")
        door.new_run()
    pages: dict[str, Callable[[str | None], Any]] = {
        "experiments": lambda token: tracker.experiments.search(limit=1, page_token=token),
        "runs": lambda token: tracker.runs.search([door.experiment], limit=1, page_token=token),
        "metrics": lambda token: tracker.runs.search((), "", ["metrics.m DESC", "params.x"], limit=1, page_token=token),
        "models": lambda token: tracker.models.search(limit=1, page_token=token),
        "versions": lambda token: tracker.models.versions(limit=1, page_token=token),
        "history": lambda token: tracker.runs.history(door.run, "m", limit=1, page_token=token),
    }
    token = pages[listing](None).next_page_token
    data = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    for place, change in flips:
        data[place % len(data)] ^= change
    tampered = base64.urlsafe_b64encode(bytes(data[: len(data) - cut]) + end).decode().rstrip("=")
    assert problem(lambda: pages[listing](tampered)) in ("", "refused")


def _read(result: object) -> None:
    if hasattr(result, "__next__"):
        for _ in result:  # type: ignore[attr-defined]
            pass


def test_messages_are_for_people() -> None:
    """The values of this test name themselves, in fewer characters than they have."""
    with pytest.raises(MLOpsError) as refused:
        connect("x" * 100_000)
    assert len(refused.value.message) < 1000
