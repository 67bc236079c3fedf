"""The shape of the house: imports point downward, the light paths stay light, a module can be read in one sitting."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "jupyter_mlops"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)

LAYERS = (
    "cli",
    "magics",
    "server",
    "hub",
    "service",
    "checks",
    "execution",
    "recording",
    "interop",
    "tracker",
    "store",
    "core",
)
"""From the top: a layer may import those after it."""

# The service puts jobs into a queue; what runs them is not among its imports.
FORBIDDEN = {
    (upper, lower) for upper in ("hub", "service") for lower in ("checks", "execution", "interop", "recording")
}

LONGEST_MODULE = 500
HEAVY = (
    "IPython alembic fsspec jupyter_client matplotlib mlflow nbclient nbdime nbformat numpy pandas papermill rich "
    "sklearn sqlalchemy torch zmq"
).split()


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def layer(module: str) -> str | None:
    """The layer of a module; None for the package itself, which is above all, and for its version, which is below."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and not parts[1].startswith("_") else None


def imported(nodes: Iterator[ast.AST]) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports name the whole package"
            assert node.module is not None
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in NAMES else node.module


def on_import(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downward(path: Path) -> None:
    own = layer(name_of(path))
    if own is None:
        return
    assert own in LAYERS, f"{own} is not in the list of layers"
    for line, module in imported(ast.walk(tree_of(path))):
        if module.split(".")[0] != PACKAGE.name:
            continue
        other = layer(module)
        if other is None:
            assert module == f"{PACKAGE.name}._version", f"{path}:{line} imports {module}, which is above it"
            continue
        assert LAYERS.index(own) <= LAYERS.index(other), f"{path}:{line}: {own} is below {other} and may not import it"
        assert (own, other) not in FORBIDDEN, f"{path}:{line}: {own} never imports {other}"


@pytest.mark.parametrize("path", [path for path in MODULES if layer(name_of(path)) == "core"], ids=name_of)
def test_core_needs_only_the_standard_library_and_msgspec(path: Path) -> None:
    for line, module in imported(ast.walk(tree_of(path))):
        top = module.split(".")[0]
        assert top in {PACKAGE.name, "msgspec"} or top in sys.stdlib_module_names, f"{path}:{line} imports {module}"


def test_no_import_cycles() -> None:
    graph = {
        name_of(path): {module for _, module in imported(on_import(tree_of(path))) if module in NAMES} - {name_of(path)}
        for path in MODULES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= LONGEST_MODULE
    assert not re.search(r"#.*\b(TODO|FIXME|XXX)\b", text)


@pytest.mark.parametrize(
    "path", [path for path in MODULES if layer(name_of(path)) not in ("cli", "magics")], ids=name_of
)
def test_only_the_user_interfaces_print(path: Path) -> None:
    calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    prints = [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
    assert not prints, f"{path}: print() in lines {prints}"


@pytest.mark.parametrize(
    "statement",
    [
        "import jupyter_mlops",
        "import jupyter_mlops.core.records",
        "import jupyter_mlops.tracker.spool",
        "import jupyter_mlops.cli.main",
        "from jupyter_mlops.cli.main import root; root(['--help'], standalone_mode=False)",
        "from jupyter_mlops.cli.main import root; root(['runs', 'list', '--help'], standalone_mode=False)",
    ],
)
def test_light_paths_stay_light(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.split() == []


def test_recording_into_sqlite_imports_nothing_of_postgresql_or_of_searching(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from jupyter_mlops.core.records import NewRun, RunChange, RunStatus\n"
        "from jupyter_mlops.tracker.connect import connect\n"
        f"with connect('sqlite:///{tmp_path}/a.db') as tracker:\n"
        "    experiment = tracker.experiments.ensure('e')\n"
        "    run = tracker.runs.create(NewRun(experiment_id=experiment.experiment_id))\n"
        "    tracker.runs.change(run.run_id, RunChange(status=RunStatus.FINISHED))\n"
        "unused = 'sqlalchemy.dialects.postgresql', 'jupyter_mlops.store.search', 'jupyter_mlops.core.filters'\n"
        "print(*[name for name in unused if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


def test_every_command_is_found_where_the_registry_says() -> None:
    from jupyter_mlops.cli.main import COMMANDS, root

    for name, entry in COMMANDS.items():
        command = root.get_command(None, name)
        assert command is not None
        assert command.name == name, f"{entry.target} is called {command.name!r}, the registry says {name!r}"
