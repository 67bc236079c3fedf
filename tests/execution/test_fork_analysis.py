"""Where the points of a sweep part: at the first cell that may depend on what is swept, and at any doubt."""

from __future__ import annotations

import pytest

from jupyter_mlops.execution.fork.analysis import FORK_HERE, INJECTED, Cell, ForkPoint, fork_point

PARAMETERS = Cell("lr = 0.1\ndata = 'a.csv'", code=True, tags=("parameters",))
GIVEN = Cell("# Parameters\nlr = 0.2", code=True, tags=(INJECTED,))


def parts(*before: str, after: tuple[str, ...] = ()) -> ForkPoint:
    """Where points of ``lr`` part, in a notebook with code before its cell of parameters and after it."""
    cells = [*(Cell(code, code=True) for code in before), PARAMETERS, GIVEN, *(Cell(code, code=True) for code in after)]
    return fork_point(cells, ["lr"])


def after(*cells: str) -> int | None:
    """Which of the cells behind the parameters the points begin with; None when they begin with none."""
    point = parts(after=cells)
    assert point.injects
    return None if point.index == len(cells) + 2 else point.index - 2


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\nx = np.zeros(3)",
        "def train(lr):\n    return lr * 2",
        "def train(*, lr=0.1, **more):\n    return [lr for _ in range(3)]",
        "rates = [lr_ * 2 for lr_ in range(3)]",
        "square = lambda lr: lr ** 2",
        "frame['lr'] = 1\nframe.lr",
        "class Model:\n    def __init__(self, lr):\n        self.lr = lr",
        "def later():\n    return lr",
        "class Later:\n    def rate(self):\n        return [lr for _ in range(3)]",
        "async def wait():\n    pass\nawait wait()",
        "%matplotlib inline\nx = 1",
        "%config InlineBackend.figure_format = 'retina'",
        "%%time\nx = 1",
        "for i in range(3):\n    %time x = i",
        "from numpy import *",
        "import re\nword = re.compile('lr')",
        "model.compile(optimizer='adam')\nmodel.eval()",
        "frame.query('age > @least')",
        "print('lr')",
        "# lr",
    ],
)
def test_what_does_not_depend_is_shared(code: str) -> None:
    assert after(code, "print(data)") is None


@pytest.mark.parametrize(
    "code",
    [
        "lr",
        "x = f'{lr:.2f}'",
        "lr = 3",
        "del lr",
        "for lr in range(3):\n    pass",
        "import lr",
        "from a import b as lr",
        "x = lambda: lr",
        "rates = (lr * i for i in range(3))",
        "def train(lr=lr):\n    pass",
        "class Model:\n    rate = lr",
        "def change():\n    global lr\n    lr = 3\nchange()",
        "if True:\n    def rate():\n        return lr",
        "@register\ndef rate():\n    return lr",
        "await train(lr)",
        "with open(data) as lr:\n    pass",
        "try:\n    pass\nexcept ValueError as lr:\n    pass",
        "(lr := 3)",
        "%time train(lr)",
        "frame.query('rate > @lr')",
        "x = f'{name} > @lr'",
    ],
)
def test_what_names_a_swept_parameter_is_not(code: str) -> None:
    assert after("x = 1", code, "y = 2") == 1


@pytest.mark.parametrize(
    "code",
    [
        "exec('x = 1')",
        "eval(text)",
        "globals()['x']",
        "x = vars()",
        "from mlflow import *",
        "from inspect import *",
        "frame.eval('age')",
        "evaluate = model.eval",
        "%time -q x",
        "%run other.ipynb",
        "%load_ext autoreload",
        "!pip list",
        "files = !ls",
        "?print",
        "%%bash\nls",
        "this is no Python",
        "get_ipython().run_line_magic('who', '')",
        "import importlib",
        "import sys\nsys.meta_path.insert(0, finder)",
        "import __main__",
        "from inspect import currentframe",
        "import inspect\ninspect.stack()",
        "input('?')",
        "In[1]",
        "_i3",
        "import uuid\nname = uuid.uuid4()",
        "import tempfile\nfolder = tempfile.mkdtemp()",
        "import os\nos.getpid()",
    ],
)
def test_a_doubt_ends_what_is_shared(code: str) -> None:
    assert after("x = 1", code) == 1
    assert parts("x = 1", code).index == 1


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (("def rate():\n    return lr", "x = 1", "rate()"), 2),
        (("def rate():\n    return lr", "def outer():\n    return rate()", "outer()"), 2),
        (("def outer():\n    return rate()", "def rate():\n    return lr", "outer()"), 2),
        (("class Model:\n    def rate(self):\n        return lr", "model = Model()"), 1),
        (("class Model:\n    def rate(self):\n        return lr", "class Other(Model):\n    pass"), 1),
        (("def rate():\n    return lr", "table = {'rate': rate}"), 1),
    ],
)
def test_code_that_reads_it_when_it_is_called(cells: tuple[str, ...], first: int) -> None:
    assert after(*cells) == first


def test_code_above_the_parameters_reads_them_later() -> None:
    assert after("x = 1") is None
    held = "def rate():\n    return lr", "table = [rate]"
    point = parts(*held, after=("x = 1", "table[0]()"))
    assert (point.index, point.why) == (1, "line 1: 'rate' may depend on 'lr'")
    defined = parts(held[0], after=("x = 1", "rate()"))
    assert (defined.index, defined.why) == (4, "line 1: 'rate' may depend on 'lr'")


def test_defaults_are_the_same_at_all_points() -> None:
    cells = [Cell("lr = 0.1\nhalf = lr / 2\nconfig = {'rate': lr}", code=True, tags=("parameters",)), GIVEN]
    assert fork_point([*cells, Cell("print(half, config)", code=True)], ["lr"]).index == 3


@pytest.mark.parametrize("module", ["jupyter_mlops as mlops", "mlflow as mlops"])
def test_what_logs_belongs_to_one_run(module: str) -> None:
    assert after(f"import {module}", "x = 1", "mlops.log_param('x', x)") == 2
    assert after(f"import {module}\nx = 1\ndef log():\n    mlops.log_param('x', x)") == 0


def test_what_does_not_run_does_not_count() -> None:
    cells = [PARAMETERS, GIVEN, Cell("About lr", code=False), Cell("lr", code=True, tags=("skip-execution",))]
    point = fork_point([*cells, Cell("  ", code=True)], ["lr"])
    assert (point.index, point.why) == (5, "no cell depends on what is swept")


def test_a_tag_sets_the_point_by_hand() -> None:
    tagged = Cell("x = 1", code=True, tags=(FORK_HERE,))
    assert fork_point([PARAMETERS, GIVEN, Cell("lr", code=True), tagged], ["lr"]).index == 3
    assert fork_point([tagged, PARAMETERS, GIVEN], ["lr"]) == ForkPoint(0, "the cell is tagged fork-here", False)


def test_why_says_the_line() -> None:
    assert parts(after=("x = 1\n\ny = lr",)).why == "line 3: it has 'lr'"
    assert parts(after=("%who",)).why == "it has a magic, a shell command or what is not Python"
