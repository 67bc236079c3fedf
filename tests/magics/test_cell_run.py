"""``%%mlops run``: the cell does what it always did, and is on record."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.utils.capture import capture_output

from jupyter_mlops.core.records import ReasonKind, Run, RunKind, RunStatus
from jupyter_mlops.recording.notebook_file import read_notebook
from jupyter_mlops.recording.session import Session


def recorded(session: Session) -> Run:
    """The newest run."""
    return session.reader().runs.search(limit=1).items[0]


def notebook(session: Session, run: Run, name: str = "executed") -> Any:
    content = b"".join(session.reader().artifacts.open(run.run_id, f"notebook/{name}.ipynb"))
    document = nbformat.reads(content.decode(), as_version=4)
    nbformat.validate(document)
    return document


def write_notebook(path: Path, *cells: tuple[str, str], saved: float) -> None:
    """A notebook of (id, source) cells that was saved at a moment (seconds since the epoch)."""
    document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text, id=name) for name, text in cells])
    nbformat.write(document, path)
    os.utime(path, (saved, saved))


FUTURE = 4e9


class TestRecord:
    def test_a_cell_is_a_run(self, run_cell: Any, session: Session) -> None:
        run_cell("start = 10")
        with capture_output() as captured:
            result = run_cell(
                "%%mlops run first -p lr 0.1 -p name=rf\n"
                "import sys\nprint('training')\nprint('careful', file=sys.stderr)\n"
                "%mlops log score=start+lr\nstart + lr"
            )
        assert result.result == 10.1
        assert captured.stdout.startswith("training\n")
        assert captured.stderr == "careful\n"
        run = recorded(session)
        assert (run.name, run.kind, run.status, run.hidden_state) == ("first", RunKind.CELL, RunStatus.FINISHED, None)
        assert {p.key: p.value for p in run.params} == {"lr": 0.1, "name": "rf"}
        assert [(m.key, m.value) for m in run.metrics] == [("score", 10.1)]
        assert run.end_time is not None
        assert run.end_time >= run.start_time
        document = notebook(session, run)
        assert [cell.source for cell in document.cells[:2]] == ["%load_ext jupyter_mlops", "start = 10"]
        outputs = document.cells[-1].outputs
        assert document.cells[-1].source.startswith("%%mlops run first -p lr 0.1")
        assert [output.output_type for output in outputs] == ["stream", "stream", "stream", "execute_result"]
        assert outputs[3].data["text/plain"] == "10.1"
        assert outputs[3].execution_count == document.cells[-1].execution_count
        assert not notebook(session, run, "source").cells[-1].outputs

    def test_parameters_are_variables_and_stay(self, run_cell: Any) -> None:
        run_cell("%%mlops run -p rate 0.5\ntwice = rate * 2")
        assert run_cell("(rate, twice)").result == (0.5, 1.0)

    def test_without_a_name_one_is_made_up(self, run_cell: Any, session: Session) -> None:
        run_cell("%%mlops run\npass")
        assert recorded(session).name.count("-") == 2

    def test_inside_an_active_run_it_is_a_child(self, run_cell: Any, session: Session) -> None:
        outer = session.start_run(name="outer")
        run_cell("%%mlops run inner\npass")
        assert recorded(session).parent_run_id == outer.run_id
        assert session.active is outer

    def test_another_experiment(self, run_cell: Any, session: Session) -> None:
        run_cell("%%mlops run --experiment other\npass")
        assert session.reader().experiments.get(recorded(session).experiment_id).name == "other"

    def test_displays_and_pictures(self, run_cell: Any, session: Session) -> None:
        with capture_output():
            run_cell(
                "%%mlops run\nfrom IPython.display import display, Image, HTML\n"
                "display(HTML('<b>x</b>'))\ndisplay(Image(b'\\x89PNG\\r\\n\\x1a\\n' + b'0' * 24, format='png'));"
            )
        outputs = notebook(session, recorded(session)).cells[-1].outputs
        assert outputs[0].data["text/html"] == "<b>x</b>"
        assert outputs[1].data["image/png"].startswith("iVBORw0KGgo")

    def test_a_semicolon_keeps_the_value_to_itself(self, run_cell: Any, session: Session) -> None:
        with capture_output() as captured:
            run_cell("%%mlops run quiet\n1 + 1;")
        assert captured.stdout == "run quiet: finished\n"

    def test_a_failed_run_is_told_with_what_it_hides(self, run_cell: Any, session: Session) -> None:
        run_cell("depth = 3")
        run_cell("depth = 4\nrate = 1")
        with capture_output() as captured:
            run_cell("%%mlops run\nrate / 0", fails=True)
        run = recorded(session)
        assert captured.stdout.splitlines()[0] == f"run {run.name}: failed" + (
            f"; {run.hidden_state}" if run.hidden_state else ""
        )

    def test_secret_parameters_are_redacted(self, run_cell: Any, session: Session) -> None:
        with capture_output():
            run_cell("%%mlops run -p api_key s3cr3t-value\nprint('using', api_key)", fails=True)
        run = recorded(session)
        assert run.params[0].redacted
        for name in ("source", "executed"):
            assert "s3cr3t-value" not in json.dumps(notebook(session, run, name))

    def test_a_secret_in_the_source_is_warned_of(self, run_cell: Any, session: Session) -> None:
        run_cell("db_password = 'hunter2hunter2'")
        with pytest.warns(UserWarning, match=r"In \[2\], line 1: this looks like a secret"):
            run_cell("%%mlops run\npass")
        assert notebook(session, recorded(session)).cells[1].source == "db_password = 'hunter2hunter2'"


class TestErrors:
    def test_an_error_is_the_cells_own_and_fails_the_run(self, run_cell: Any, session: Session) -> None:
        run_cell("pass")
        with capture_output() as captured:
            result = run_cell("%%mlops run bad\n\nprint('before')\ndef f():\n    return 1 / 0\nf()", fails=True)
        assert isinstance(result.error_in_exec, ZeroDivisionError)
        assert "jupyter_mlops" not in captured.stdout
        assert ", line 6" in captured.stdout
        assert "----> 5     return 1 / 0" in captured.stdout
        run = recorded(session)
        assert run.status is RunStatus.FAILED
        assert run.reason is not None
        assert (run.reason.kind, run.reason.message, run.reason.cell) == (
            ReasonKind.CELL_ERROR,
            "ZeroDivisionError: division by zero",
            2,
        )
        assert run.reason.source is not None
        assert run.reason.source.startswith("%%mlops run bad")
        assert run.reason.traceback is not None
        assert "return 1 / 0" in run.reason.traceback
        assert "magics" not in run.reason.traceback
        outputs = notebook(session, run).cells[-1].outputs
        assert [(o.output_type, o.get("ename")) for o in outputs] == [("stream", None), ("error", "ZeroDivisionError")]
        assert session.active is None

    def test_an_exception_that_cannot_tell_what_it_is_ends_the_run_too(self, run_cell: Any, session: Session) -> None:
        run_cell("class Odd(Exception):\n    def __str__(self):\n        raise RuntimeError('no words')")
        with capture_output():
            run_cell("%%mlops run\nraise Odd()", fails=True)
        run = recorded(session)
        assert run.status is RunStatus.FAILED
        assert run.reason is not None
        assert "Odd" in run.reason.message
        (output,) = notebook(session, run).cells[-1].outputs
        assert (output.ename, output.evalue) == ("Odd", "")
        assert session.active is None

    def test_an_interrupt_kills_the_run(self, run_cell: Any, session: Session) -> None:
        with capture_output():
            run_cell("%%mlops run\nraise KeyboardInterrupt", fails=True)
        run = recorded(session)
        assert run.status is RunStatus.KILLED
        assert run.reason is not None
        assert run.reason.kind is ReasonKind.CANCELLED

    def test_everything_displays_as_before_afterwards(self, run_cell: Any, shell: Any) -> None:
        import sys

        before = sys.stdout, shell.display_pub.publish, shell.displayhook.write_format_data
        with capture_output():
            run_cell("%%mlops run\n1/0", fails=True)
        assert (sys.stdout, shell.display_pub.publish, shell.displayhook.write_format_data) == before

    @pytest.mark.parametrize(
        ("cell", "message"),
        [
            ("%%mlops runn\nx", "%%mlops runn: the cell magic is %%mlops run"),
            ("%%mlops run a b\nx", "run: unrecognized arguments: b"),
            ("%%mlops run -p a\nx", "-p a: a value is missing"),
            ("%%mlops run -p 1 2\nx", "-p: '1' cannot be the name of a variable"),
            ("%%mlops run\nx = (", "%%mlops run: line 2: "),
            ("%%mlops run\nawait x", "%%mlops run: line 2: 'await' outside function; await in another cell"),
            ("%%mlops run\nreturn 1", "%%mlops run: line 2: 'return' outside function"),
        ],
    )
    def test_what_cannot_run_is_refused_before_anything_is_recorded(
        self, run_cell: Any, session: Session, cell: str, message: str
    ) -> None:
        with capture_output() as captured:
            result = run_cell(cell, fails=True)
        assert type(result.error_in_exec).__name__ == "UsageError"
        assert captured.stderr.startswith(f"UsageError: {message}")
        assert captured.stderr.count("\n") == 1
        assert session.reader().runs.search().items == ()


class TestHiddenState:
    @pytest.fixture
    def path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / "work.ipynb"
        monkeypatch.setenv("JPY_SESSION_NAME", str(path))
        return path

    RUN = "%%mlops run\nresult = rate * 2"

    def test_nothing_is_hidden_in_order(self, run_cell: Any, session: Session, path: Path) -> None:
        write_notebook(path, ("a", "rate = 1"), ("r", self.RUN), saved=FUTURE)
        run_cell("rate = 1", cell_id="a")
        run_cell(self.RUN, cell_id="r")
        assert recorded(session).hidden_state is None
        assert recorded(session).source == str(path)

    def test_edited_deleted_and_out_of_order(self, run_cell: Any, session: Session, path: Path) -> None:
        write_notebook(path, ("r", self.RUN), ("a", "rate = base + 2"), saved=FUTURE)
        run_cell("base = 1", cell_id="gone")
        run_cell("rate = base + 1", cell_id="a")
        run_cell(self.RUN, cell_id="r")
        run = recorded(session)
        assert run.hidden_state == (
            "may not be reproducible: In [2] deleted since (base); In [3] edited since (rate); "
            "In [3] out of order (rate)"
        )
        marks = [cell.metadata.get("jupyter_mlops") for cell in notebook(session, run).cells]
        assert marks == [None, {"hidden": ["deleted since"]}, {"hidden": ["edited since", "out of order"]}, None]

    def test_a_file_that_was_saved_before_says_nothing_about_edits(
        self, run_cell: Any, session: Session, path: Path
    ) -> None:
        write_notebook(path, ("a", "rate = 0"), ("r", self.RUN), saved=1.0)
        run_cell("rate = 1", cell_id="a")
        run_cell(self.RUN, cell_id="r")
        assert recorded(session).hidden_state is None

    def test_a_variable_from_nowhere(self, run_cell: Any, shell: Any, session: Session) -> None:
        shell.user_ns["rate"] = 3
        run_cell(self.RUN)
        assert recorded(session).hidden_state == "may not be reproducible: rate: defined by no recorded cell"

    def test_running_it_again_is_hidden_only_if_it_left_something(self, run_cell: Any, session: Session) -> None:
        run_cell("rate = 1")
        run_cell(self.RUN, cell_id="r")
        run_cell(self.RUN, cell_id="r")
        assert recorded(session).hidden_state is None
        run_cell("%%mlops run\nrate = rate + 1", cell_id="s")
        run_cell("%%mlops run\nrate = rate + 1", cell_id="s")
        assert "ran more than once (rate)" in str(recorded(session).hidden_state)

    @pytest.mark.parametrize("content", ["", "{}", "[]", '{"cells": 3}', '{"cells": [{"cell_type": "code"}]}'])
    def test_a_broken_file_is_as_no_file(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "broken.ipynb"
        path.write_text(content)
        assert read_notebook(path) is None
        assert read_notebook(tmp_path / "none.ipynb") is None
