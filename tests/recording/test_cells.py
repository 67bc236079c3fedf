"""What is hidden from a reader when a cell is recorded."""

from __future__ import annotations

import json

import pytest

from jupyter_mlops.recording.cells import (
    ExecutedCell,
    Hidden,
    HiddenKind,
    NotebookCell,
    NotebookFile,
    as_notebook,
    describe,
    find_hidden,
)
from jupyter_mlops.recording.names import names_in

RAN = 100.0
SAVED_AFTER = 200.0


def ran(*cells: str | tuple[str, str]) -> list[ExecutedCell]:
    """Executed cells, each a source or (id, source); counted from 1."""
    pairs = [(None, cell) if isinstance(cell, str) else cell for cell in cells]
    return [
        ExecutedCell(count=count, source=source, cell_id=cell_id, before=RAN)
        for count, (cell_id, source) in enumerate(pairs, 1)
    ]


def notebook(*cells: str | tuple[str, str], saved: float = SAVED_AFTER) -> NotebookFile:
    pairs = [(None, cell) if isinstance(cell, str) else cell for cell in cells]
    return NotebookFile(
        path="a.ipynb",
        saved=saved,
        cells=tuple(NotebookCell(source=source, cell_id=cell_id) for cell_id, source in pairs),
    )


def hidden(
    earlier: list[ExecutedCell], body: str, file: NotebookFile | None = None, cell_id: str | None = None
) -> list:
    recorded = ExecutedCell(count=len(earlier) + 1, source=body, cell_id=cell_id, before=RAN)
    return [(one.kind.name, one.count, *one.names) for one in find_hidden(recorded, earlier, file)]


NAMES = [
    ("y = x + 1", {"x"}, {"y"}, set()),
    ("x = 1\ny = x", set(), {"x", "y"}, set()),
    ("x = x + 1", {"x"}, {"x"}, set()),
    ("x += 1", {"x"}, {"x"}, {"x"}),
    ("d['a'] = 1", {"d"}, set(), {"d"}),
    ("o.a.b = 1", {"o"}, set(), {"o"}),
    ("l.append(v)", {"l", "v"}, set(), {"l"}),
    ("df.drop(c, inplace=True)", {"df", "c"}, set(), {"df"}),
    ("df.drop(c, inplace=False)", {"df", "c"}, set(), set()),
    ("def f(a):\n    return a + g", {"g"}, {"f"}, set()),
    ("def f():\n    global n\n    n = 1", set(), {"f", "n"}, set()),
    ("[i * k for i in s]", {"k", "s"}, set(), set()),
    ("{i: {j for j in i} for i in s if i not in x}\nx = 1", {"s", "x"}, {"x"}, set()),
    ("i = 1\n{i: j for i, j in s}\ni", {"s"}, {"i"}, set()),
    ("def f():\n    return [i * k for i in s]", {"k", "s"}, {"f"}, set()),
    ("any((n := i) > 3 for i in s)\n[(m := i) for i in s]", {"any", "s"}, {"n", "m"}, set()),
    ("class C:\n    x = 1\ny = x", {"x"}, {"C", "y"}, set()),
    ("class A(B):\n    x = z", {"B", "z"}, {"A"}, set()),
    ("import numpy as np\nnp.random.shuffle(a)", {"a"}, {"np"}, set()),
    ("for i in range(3):\n    t = i", {"range"}, {"i", "t"}, set()),
    ("with open(p) as f:\n    s = f.read()", {"open", "p"}, {"f", "s"}, set()),
    ("get_ipython().run_cell_magic('time', '', 'y = x')", {"get_ipython", "x"}, {"y"}, set()),
    ("get_ipython().run_line_magic('time', 'y = x')", {"get_ipython", "x"}, {"y"}, set()),
    (
        "get_ipython().run_cell_magic('mlops', 'run a -p lr 0.1 -p n=2', '%mlops log x\\ny = lr')",
        {"get_ipython", "lr"},
        {"y", "lr", "n"},
        set(),
    ),
    ("%timeit f\nx = 1\n!ls", set(), {"x"}, set()),
    ("lambda: q", {"q"}, set(), set()),
    ("this is no python", set(), set(), set()),
    ("nul\0", set(), set(), set()),
]


@pytest.mark.parametrize(("code", "read", "bound", "changed"), NAMES, ids=[row[0][:24] for row in NAMES])
def test_names(code: str, read: set[str], bound: set[str], changed: set[str]) -> None:
    names = names_in(code)
    assert (names.read, names.bound, names.changed) == (read, bound, changed)


@pytest.mark.parametrize(
    "code", ["from m import *", "exec(s)", "get_ipython().run_line_magic('run', 'a.py')", "globals()['x'] = 1"]
)
def test_code_that_may_bind_anything_is_opaque(code: str) -> None:
    assert names_in(code).opaque


class TestNothingHidden:
    def test_in_order(self) -> None:
        cells = ("x = 1", "y = x", "print(y)")
        assert hidden(ran(*cells), "z = y", notebook(*cells, "z = y")) == []

    def test_what_the_cell_does_not_depend_on(self) -> None:
        earlier = ran("gone = 1", "x = 1")
        assert hidden(earlier, "y = x", notebook("x = 1", "y = x")) == []

    def test_a_cell_that_reruns_to_the_same(self) -> None:
        earlier = ran(("a", "x = load()"), ("a", "x = load()"), "load = 1")
        assert [row for row in hidden(earlier, "y = x") if row[0] == "REPEATED"] == []

    def test_a_corrected_cell(self) -> None:
        earlier = ran(("a", "x = 1"), ("a", "x = 2"))
        assert hidden(earlier, "y = x", notebook(("a", "x = 2"), "y = x")) == []

    def test_the_file_was_not_saved_since(self) -> None:
        """An editor saves later than it runs: an older file says nothing about what was edited."""
        earlier = ran(("a", "x = 2"))
        assert hidden(earlier, "y = x", notebook(("a", "x = 1"), "y = x", saved=RAN - 50)) == []

    def test_a_parameter_needs_no_cell(self) -> None:
        recorded = ExecutedCell(count=1, source="y = lr")
        assert find_hidden(recorded, [], known=["lr"]) == ()

    def test_builtins_need_no_cell(self) -> None:
        assert hidden([], "print(len([]))") == []


class TestHidden:
    def test_edited_since(self) -> None:
        earlier = ran(("a", "x = 1"))
        assert hidden(earlier, "y = x", notebook(("a", "x = 2"), "y = x")) == [("EDITED", 1, "x")]

    def test_deleted_since(self) -> None:
        earlier = ran(("a", "x = 1"), ("b", "k = 2"))
        assert hidden(earlier, "y = x", notebook(("b", "k = 2"), "y = x")) == [("DELETED", 1, "x")]

    def test_without_ids_editing_and_deleting_look_alike(self) -> None:
        assert hidden(ran("x = 1"), "y = x", notebook("x = 2", "y = x")) == [("CHANGED", 1, "x")]

    def test_a_name_left_by_an_earlier_version_of_a_cell(self) -> None:
        earlier = ran(("a", "rate = 1"), ("a", "r = 1"))
        assert hidden(earlier, "y = rate", notebook(("a", "r = 1"), "y = rate")) == [("EDITED", 1, "rate")]

    def test_an_earlier_version_that_the_later_one_built_upon(self) -> None:
        earlier = ran("df = 0", ("a", "df = df + 1"), ("a", "df = df * 2"))
        assert hidden(earlier, "y = df") == [("EDITED", 2, "df")]

    def test_a_cell_below_ran_before(self) -> None:
        earlier = ran("x = 1", "x = 99")
        assert hidden(earlier, "y = x", notebook("x = 1", "y = x", "x = 99")) == [("OUT_OF_ORDER", 2, "x")]

    def test_two_cells_above_ran_the_other_way_round(self) -> None:
        earlier = ran("y = x", "x = 2")
        assert hidden(earlier, "z = y", notebook("x = 2", "y = x", "z = y")) == [("OUT_OF_ORDER", 1, "x")]

    def test_a_cell_that_changes_what_it_reads_ran_twice(self) -> None:
        earlier = ran("x = 1", "x += 1", "x += 1")
        assert hidden(earlier, "y = x", notebook("x = 1", "x += 1", "y = x")) == [("REPEATED", 3, "x")]

    def test_the_recorded_cell_itself_ran_before_and_left_something(self) -> None:
        earlier = ran("model = 1", ("r", "model.fit(1)"))
        assert hidden(earlier, "model.fit(2)", cell_id="r") == [("REPEATED", 3, "model")]

    def test_the_recorded_cell_ran_before_and_left_nothing(self) -> None:
        earlier = ran("model = 1", ("r", "score = model"))
        assert hidden(earlier, "score = model", notebook("model = 1", ("r", "score = model")), cell_id="r") == []

    def test_a_name_from_nowhere(self) -> None:
        assert hidden(ran("x = 1"), "y = x + z") == [("UNKNOWN", None, "z")]

    def test_a_star_import_may_be_where_it_is_from(self) -> None:
        assert hidden(ran("from m import *"), "y = z") == []

    def test_through_a_function(self) -> None:
        earlier = ran(("a", "k = 1"), "def f():\n    return k")
        assert hidden(earlier, "f()", notebook(("a", "k = 2"), "def f():\n    return k", "f()")) == [("EDITED", 1, "k")]


def test_the_sentence_is_plain_and_short() -> None:
    found = [Hidden(kind=HiddenKind.EDITED, count=n, names=("x",)) for n in range(7)]
    sentence = describe(found)
    assert sentence is not None
    assert sentence.startswith("may not be reproducible: In [0] edited since (x); ")
    assert sentence.endswith("; and 3 more")
    assert describe([]) is None


def test_the_notebook_of_what_ran_is_a_valid_notebook() -> None:
    import nbformat

    cells = ran("x = 1", "y = <script>")
    found = [Hidden(kind=HiddenKind.EDITED, count=1, names=("x",))]
    output = {"output_type": "stream", "name": "stdout", "text": "hi\n"}
    document = as_notebook([(cells[0], []), (cells[1], [output])], found)
    read = nbformat.reads(json.dumps(document), as_version=4)
    nbformat.validate(read)
    assert [cell.source for cell in read.cells] == ["x = 1", "y = <script>"]
    assert read.cells[0].metadata.jupyter_mlops.hidden == ["edited since"]
    assert "jupyter_mlops" not in read.cells[1].metadata
