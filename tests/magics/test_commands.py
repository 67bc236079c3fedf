"""The commands of ``%mlops`` in a real shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from IPython.utils.capture import capture_output

from jupyter_mlops.core.errors import InvalidValue
from jupyter_mlops.magics.commands import COMMANDS
from jupyter_mlops.magics.completion import complete
from jupyter_mlops.magics.html import Row, Table
from jupyter_mlops.magics.words import expressions, parameters, split
from jupyter_mlops.recording.cells import HiddenKind
from jupyter_mlops.recording.session import Session

HOSTILE = "<script>alert(1)</script>&\"'"


def said(run_cell: Any, source: str) -> str:
    with capture_output() as captured:
        run_cell(source)
    return captured.stdout


def shown(run_cell: Any, source: str) -> dict[str, str]:
    """The one thing that the cell displays."""
    with capture_output() as captured:
        run_cell(source)
    (output,) = captured.outputs
    return output.data


def refused(run_cell: Any, source: str) -> str:
    """What the cell's plain error says; nothing else is printed."""
    with capture_output() as captured:
        result = run_cell(source, fails=True)
    assert type(result.error_in_exec).__name__ == "UsageError"
    assert captured.stdout + captured.stderr == f"UsageError: {result.error_in_exec}\n"
    return str(result.error_in_exec)


def latest(session: Session) -> Any:
    return session.reader().runs.search(limit=1).items[0]


class TestLogging:
    def test_variables_and_expressions(self, run_cell: Any, session: Session) -> None:
        run_cell("auc, f1 = 0.9, 0.5\nclass Box: value = 3")
        text = said(run_cell, "%mlops log auc double=round(f1 * 2, 1) box=Box.value")
        run = latest(session)
        assert {m.key: m.value for m in run.metrics} == {"auc": 0.9, "double": 1.0, "box": 3.0}
        assert text == f"run {run.name}: auc = 0.9, double = 1, box = 3\n"

    def test_a_step_in_a_loop_says_nothing(self, run_cell: Any, session: Session) -> None:
        assert said(run_cell, "for epoch in range(3):\n    %mlops log loss=1/(epoch+1) --step epoch") == ""
        run = latest(session)
        history = session.reader().runs.history(run.run_id, "loss").items
        assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]

    def test_local_variables_of_a_function(self, run_cell: Any, session: Session) -> None:
        run_cell("def f():\n    inner = 5\n    get_ipython().run_line_magic('mlops', 'log inner')\nf()")
        assert [m.value for m in latest(session).metrics] == [5.0]

    def test_parameters_keep_their_type(self, run_cell: Any, session: Session) -> None:
        said(run_cell, "lr = 0.1")
        assert said(run_cell, "%mlops param lr kind='rf'").endswith(": lr, kind logged\n")
        assert {p.key: p.value for p in latest(session).params} == {"lr": 0.1, "kind": "rf"}

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("log", "log: give variables, or NAME=EXPRESSION"),
            ("log nothing", "log: nothing: NameError: name 'nothing' is not defined"),
            ("log text='a'", "log: metric 'text': 'a' (str) is not a number; %mlops param logs what is no number"),
            ("log x=1/0", "log: 1/0: ZeroDivisionError: division by zero"),
            ("log x=(1", "'x=(1': a quote or bracket is not closed"),
            ("log x=1 x=2", "log: x is given twice"),
            ("log =1", "'=1' is neither a variable nor NAME=EXPRESSION"),
            ("log x=1 --step 'a'", "log: metric 'x': step: 'a' (str) is not an integer"),
            ("param", "param: give variables, or NAME=EXPRESSION"),
        ],
    )
    def test_mistakes_are_one_line(self, run_cell: Any, session: Session, line: str, message: str) -> None:
        assert refused(run_cell, f"%mlops {line}").startswith(message)
        assert session.reader().runs.search().items == ()

    def test_all_of_a_call_or_nothing(self, run_cell: Any, session: Session) -> None:
        refused(run_cell, "%mlops log good=1 bad='x'")
        assert session.active is None


class TestState:
    def test_experiment(self, run_cell: Any, session: Session) -> None:
        assert said(run_cell, "%mlops experiment") == "experiment Default\n"
        assert said(run_cell, "%mlops experiment 'my iris'") == "experiment my iris\n"
        said(run_cell, "%mlops log x=1")
        assert session.reader().experiments.get(latest(session).experiment_id).name == "my iris"

    def test_status_and_end(self, run_cell: Any, session: Session) -> None:
        owner = f"owner       {session.reader().principal.name}\n"
        idle = said(run_cell, "%mlops status")
        assert "none is active" in idle
        assert owner in idle
        said(run_cell, "%mlops log x=1\n%mlops param k='v'")
        run = latest(session)
        text = said(run_cell, "%mlops status")
        assert run.name in text
        assert owner in text
        assert "x = 1" in text
        assert "k = v" in text
        assert said(run_cell, "%mlops end") == f"run {run.name} has ended\n"
        assert latest(session).status.value == "FINISHED"
        assert said(run_cell, "%mlops end") == "no run is active\n"

    def test_status_while_the_store_is_away(self, run_cell: Any, session: Session) -> None:
        place = session.tracking_url
        session.use_tracker("postgresql://nobody@127.0.0.1:1/nothing")
        assert "owner       not known now: " in said(run_cell, "%mlops status")
        session.use_tracker(place)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("statsu", "%mlops has no command 'statsu'; did you mean 'status'?"),
            ("experiment a b", "experiment: unrecognized arguments: b"),
            ("experiment 'a", '"\'a": no closing quotation'),
            ("runs --bad", "runs: there is no option --bad; --all and -n are"),
            ("runs -n 0", "runs: -n takes a number from 1 to 1000, not '0'"),
            ("runs metrics.x >", "filter: expected a value"),
            ("compare", "compare: the following arguments are required: RUN"),
            ("compare a", "compare: give two runs or more"),
            ("compare nobody else", "no run is called 'nobody'"),
            ("register", "register: the following arguments are required: RUN[:PATH], NAME"),
            ("register nobody m", "no run is called 'nobody'"),
        ],
    )
    def test_mistakes_are_one_line(self, run_cell: Any, line: str, message: str) -> None:
        assert refused(run_cell, f"%mlops {line}").startswith(message)

    def test_help_names_every_command(self, run_cell: Any, shell: Any) -> None:
        text = said(run_cell, "%mlops help")
        assert all(f"%mlops {name}" in text for name in COMMANDS)
        assert said(run_cell, "%mlops").strip() == text.strip()
        with capture_output() as captured:
            run_cell("%mlops?")
        assert "%%mlops run [NAME]" in captured.stdout


class TestTables:
    @pytest.fixture
    def two(self, session: Session, run_cell: Any) -> None:
        for name, rate, extra in (("one", 0.1, ""), ("two", 0.2, " seed=7")):
            session.start_run(name=name)
            said(run_cell, f"%mlops param rate={rate} same='s'{extra}\n%mlops log auc={1 - rate} n=100\n%mlops end")

    def test_runs(self, run_cell: Any, two: None) -> None:
        text = shown(run_cell, "%mlops runs")["text/plain"]
        header, _, first, second = text.splitlines()
        assert header.split() == ["name", "status", "started", "took", "rate", "seed", "auc", "n", "id"]
        assert first.split()[:2] == ["two", "finished"]
        assert second.split()[:2] == ["one", "finished"]

    def test_runs_with_a_filter(self, run_cell: Any, two: None) -> None:
        text = shown(run_cell, "%mlops runs metrics.auc > 0.85 and params.same = 's'")["text/plain"]
        assert [line.split()[0] for line in text.splitlines()[2:]] == ["one"]
        assert said(run_cell, "%mlops runs metrics.auc > 2") == "no runs in experiment Default where metrics.auc > 2\n"

    def test_a_limit_says_that_there_is_more(self, run_cell: Any, two: None) -> None:
        text = shown(run_cell, "%mlops runs -n 1 --all")["text/plain"]
        assert "There are more: these are the newest 1." in text
        assert "one" not in text.split()

    def test_compare(self, run_cell: Any, two: None) -> None:
        data = shown(run_cell, "%mlops compare one two")
        rows = [line.split() for line in data["text/plain"].splitlines()]
        assert rows[0] == ["one", "two"]
        assert ["rate", "0.1", "0.2"] in rows
        assert ["seed", "7"] in rows
        assert ["auc", "0.9000", "0.8000"] in rows
        assert not [row for row in rows if row[0] == "same"]
        assert "1 parameter is the same." in data["text/plain"]
        assert data["text/html"].count("<table>") == 1

    def test_hidden_state_is_told(self, run_cell: Any, session: Session, two: None) -> None:
        session.end_run(session.start_run(name="three", hidden_state="may not be reproducible: In [1] edited since"))
        for line in ("%mlops runs", "%mlops compare one three"):
            assert "⚠ three may not be reproducible: In [1] edited since" in shown(run_cell, line)["text/plain"]

    def test_names_are_escaped(self, run_cell: Any, session: Session) -> None:
        for name in (HOSTILE, "other"):
            with session.start_run(name=name):
                said(run_cell, f"%mlops param note={HOSTILE + name!r}")
        first, second = (run.run_id for run in session.reader().runs.search().items)
        for line in ("%mlops runs", f"%mlops compare {first} {second}"):
            html = shown(run_cell, line)["text/html"]
            assert "<script" not in html
            assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;" in html

    def test_terminal_sequences_are_shown_not_obeyed(self) -> None:
        table = Table(["\x1b[2Jname"], [Row(("a\x07\nb",)), Row(("t\x1b",), is_title=True)], remarks=["\x9b1m"])
        text = table.as_text()
        assert not {"\x1b", "\x07", "\x9b"} & set(text)
        assert len(text.splitlines()) == 5


@pytest.mark.parametrize("options", ["", " --alias production", " --alias production --description 'the first'"])
def test_register(run_cell: Any, session: Session, options: str) -> None:
    pytest.importorskip("mlflow")
    run_cell(
        "import jupyter_mlops as mlops\nfrom sklearn.dummy import DummyClassifier\n"
        "with mlops.start_run(run_name='chosen'):\n"
        "    mlops.log_model(DummyClassifier().fit([[0]], [0]), name='deep/model')"
    )
    text = said(run_cell, f"%mlops register chosen:deep/model churn{options}")
    version = session.reader().models.version("churn", 1)
    assert version.aliases == (("production",) if "alias" in options else ())
    assert version.description == ("the first" if "description" in options else "")
    address = "models:/churn@production" if "alias" in options else "models:/churn/1"
    assert text == f"version 1 of churn; load it with mlops.load_model('{address}')\n"
    assert "the run has models in 'deep/model'" in refused(run_cell, "%mlops register chosen churn")


class TestCompletion:
    def offered(self, shell: Any, line: str) -> list[str]:
        return shell.complete(None, line)[1]

    def test_commands(self, shell: Any) -> None:
        assert self.offered(shell, "%mlops ") == list(COMMANDS)
        assert self.offered(shell, "%mlops co") == ["compare"]
        assert self.offered(shell, "%%mlops ") == ["run"]

    def test_things_in_the_store(self, shell: Any, session: Session, run_cell: Any) -> None:
        said(run_cell, "%mlops experiment 'my iris'")
        for name in ("alpha", "twin", "twin"):
            with session.start_run(name=name):
                said(run_cell, "%mlops log auc=1\n%mlops param rate=1")
        twins = [run.run_id[:12] for run in session.reader().runs.search().items if run.name == "twin"]
        assert self.offered(shell, "%mlops compare ") == [*twins, "alpha"]
        assert self.offered(shell, "%mlops compare alpha al") == ["alpha"]
        assert "'my iris'" in self.offered(shell, "%mlops experiment ")
        assert self.offered(shell, "%mlops runs metr") == ["metrics.auc"]
        assert self.offered(shell, "%mlops register alpha m --") == ["--alias", "--description"]

    def test_variables(self, shell: Any, run_cell: Any) -> None:
        run_cell("auc_one, auc_two, auc_text = 1, 2.0, 'x'")
        assert self.offered(shell, "%mlops log auc_") == ["auc_one", "auc_two"]
        assert self.offered(shell, "%mlops param auc_t") == ["auc_two", "auc_text"]

    def test_a_store_that_does_not_answer_offers_nothing(self, shell: Any, session: Session, tmp_path: Path) -> None:
        good = session.tracking_url
        (tmp_path / "file").write_text("a database cannot lie below a file")
        session.use_tracker(f"sqlite:///{tmp_path}/file/mlops.db")
        assert complete(shell, SimpleNamespace(line="%mlops compare ", symbol="")) == []
        session.use_tracker(good)


@pytest.mark.parametrize(
    ("line", "pairs"),
    [
        ("a b", [("a", "a"), ("b", "b")]),
        ("a=f(x, 'y z') b", [("a", "f(x, 'y z')"), ("b", "b")]),
        ("a=[1, 2][0]", [("a", "[1, 2][0]")]),
        ("  a  ", [("a", "a")]),
        ("a=x.y", [("a", "x.y")]),
        ("", []),
    ],
)
def test_expressions(line: str, pairs: list[tuple[str, str]]) -> None:
    assert expressions(line) == pairs


@pytest.mark.parametrize("line", ["a==b", "=", "a=", "a=(", "a='"])
def test_bad_expressions(line: str) -> None:
    with pytest.raises(InvalidValue):
        expressions(line)


def test_parameters() -> None:
    line = "name -p a 1 -p b=0.5 --parameters c 'two words' -p d=True -p e -1 -p f= -p g=x=y --experiment e"
    given, rest = parameters(split(line))
    assert given == {"a": 1, "b": 0.5, "c": "two words", "d": True, "e": -1, "f": "", "g": "x=y"}
    assert rest == ["name", "--experiment", "e"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-p", "'' cannot be the name|a value is missing"),
        ("-p a", "a value is missing"),
        ("-p 1a 2", "'1a' cannot be the name of a variable"),
        ("-p class 2", "'class' cannot be"),
        ("-p a 1 -p a 2", "a is given twice"),
    ],
)
def test_bad_parameters(line: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        parameters(split(line))


@pytest.mark.slow
def test_loading_the_extension_imports_nearly_nothing() -> None:
    """What takes time is imported by the first command that needs it."""
    code = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "before = set(sys.modules)\n"
        "shell.run_line_magic('load_ext', 'jupyter_mlops')\n"
        "print(*sorted(set(sys.modules) - before))\n"
        "shell.run_line_magic('load_ext', 'jupyter_mlops')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split("\n")[0].split()
    assert "jupyter_mlops.magics" in loaded
    others = {name.partition(".")[0] for name in loaded} - {"IPython", "jupyter_mlops"}
    assert others <= set(sys.stdlib_module_names)
    assert not {"jupyter_mlops.recording", "jupyter_mlops.tracker", "jupyter_mlops.store"} & set(loaded)


def test_the_docs_tell_every_command_and_every_way_to_hide_state() -> None:
    page = (Path(__file__).parents[2] / "docs" / "magics.md").read_text(encoding="utf-8")
    assert all(f"| `%mlops {name}" in page for name in COMMANDS)
    assert all(f"\n| {kind.value} |" in page for kind in HiddenKind)
