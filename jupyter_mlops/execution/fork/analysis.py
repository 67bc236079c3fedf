"""Where the points of a sweep part: the first cell whose work may depend on a swept parameter.

Everything is read from the code, and a doubt ends the prefix: executing a cell once for each point is never wrong.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence

import msgspec

FORK_HERE = "fork-here"
"""Tag of the cell that the points are to begin with, whatever the code looks like."""
INJECTED = "injected-parameters"

_SKIPPED = "skip-execution"
"""What papermill's client passes over."""
_REACHES_ALL = frozenset(
    "exec eval compile globals locals vars __import__ importlib get_ipython __main__ __builtins__ builtins inspect "
    "gc ctypes input breakpoint In _ih _i _ii _iii open_ipython settrace setprofile meta_path path_hooks _getframe "
    "ip".split()
)
"""Names and attributes by which code reaches names that it does not write."""
_OF_ONE_PROCESS = frozenset(
    "getpid getppid fork forkpty urandom mkdtemp mkstemp mktemp gettempprefix NamedTemporaryFile TemporaryDirectory "
    "TemporaryFile SpooledTemporaryFile uuid1 uuid4 secrets getrandbits SystemRandom".split()
)
"""What gives something else in each process, and is to do so at each point."""
_LOGS = frozenset("jupyter_mlops mlflow".split())
"""Packages whose use belongs to one run."""
_HARMLESS_LINE = re.compile(r"^%(?:matplotlib\s+inline|config\s+InlineBackend\.[^\n]*)\s*$", re.MULTILINE)
_TIMED_CELL = re.compile(r"\A\s*%%time[ \t]*\n")
_TIMED_STATEMENT = re.compile(r"^([ \t]*)%time[ \t]+(?![ \t-])", re.MULTILINE)
_WORKED_OUT = ("listcomp", "setcomp", "dictcomp")
_INPUT = re.compile(r"^_i\d+$")
_LOOKED_UP = re.compile(r"@([^\W\d]\w*)")


class Cell(msgspec.Struct, frozen=True):
    """A cell as it will be executed."""

    source: str
    code: bool
    tags: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        return self.code and bool(self.source.strip()) and _SKIPPED not in self.tags


class ForkPoint(msgspec.Struct, frozen=True):
    """Where the points of a sweep part."""

    index: int
    """The first cell that each point executes itself; the number of cells when there is none."""
    why: str
    injects: bool
    """Whether the cell of injected parameters comes before."""


def fork_point(cells: Sequence[Cell], swept: Collection[str]) -> ForkPoint:
    """Where points that differ in the parameters ``swept`` part, in a notebook with a cell of injected parameters."""
    injected = next(index for index, cell in enumerate(cells) if INJECTED in cell.tags)
    by_hand = next((index for index, cell in enumerate(cells) if FORK_HERE in cell.tags), None)
    if by_hand is not None:
        return ForkPoint(by_hand, f"the cell is tagged {FORK_HERE}", injected < by_hand)
    state = _State(frozenset(swept))
    for index, cell in enumerate(cells):
        if not cell.runs:
            continue
        if index == injected:
            state.injected = True
            continue
        why = state.doubt(cell.source)
        if why is not None:
            return ForkPoint(index, why, injected < index)
    return ForkPoint(len(cells), "no cell depends on what is swept", True)


class _State:
    """What is known of the names while cells are passed, in their order."""

    def __init__(self, swept: frozenset[str]) -> None:
        self.injected = False
        self._swept = swept
        self._reaches: dict[str, set[str]] = defaultdict(set)
        """By name, the names that code behind it may read or write when it is called."""
        self._modules: set[str] = set()
        self._loggers: set[str] = set()

    def doubt(self, source: str) -> str | None:
        """Why a cell may depend on what is swept; None when it does not."""
        source = _TIMED_STATEMENT.sub(r"\1", _HARMLESS_LINE.sub("pass", _TIMED_CELL.sub("", source)))
        try:
            statements = ast.parse(source).body
        except (SyntaxError, ValueError, RecursionError):
            return "it has a magic, a shell command or what is not Python"
        for statement in statements:
            why = self._statement(statement)
            if why is not None:
                return f"line {statement.lineno}: {why}"
        return None

    def _statement(self, statement: ast.stmt) -> str | None:
        harmless = set(_harmless_methods(statement))
        for node in ast.walk(statement):
            why = None if node in harmless else _is_opaque(node)
            if why is not None:
                return why
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            return self._import(statement)
        at_once, later, bound = _names(statement)
        if self._loggers & (at_once | later):
            return f"{_first(self._loggers & (at_once | later))!r} logs to one run"
        defines = isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        now = at_once if defines and not getattr(statement, "decorator_list", ()) else at_once | later
        seen = self._all_reached(now)
        # Before they are injected, parameters have the same defaults at all points; only code may read them later on.
        if self.injected and (direct := self._swept & (now | bound | _named_in_texts(statement))):
            return f"it has {_first(direct)!r}"
        if through := self._swept & (seen - (frozenset() if self.injected else at_once)):
            name = next(name for name in sorted(now) if self._swept & self._all_reached({name}))
            return f"{name!r} may depend on {_first(through)!r}"
        if not self.injected:
            at_once = at_once - self._swept
        changed = bound if defines else bound | (at_once - self._modules)
        for name in changed:
            self._reaches[name] |= at_once | later
        return None

    def _import(self, statement: ast.Import | ast.ImportFrom) -> str | None:
        names = {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
        if self.injected and names & self._swept:
            return f"it has {_first(names & self._swept)!r}"
        self._modules |= names
        origins = (
            [statement.module or ""]
            if isinstance(statement, ast.ImportFrom)
            else [alias.name for alias in statement.names]
        )
        if any(origin.partition(".")[0] in _LOGS for origin in origins):
            if "*" in names:
                return "its names log to one run"
            self._loggers |= names
        return None

    def _all_reached(self, names: Collection[str]) -> frozenset[str]:
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self._reaches.get(name, ()))
        return frozenset(found)


def _is_opaque(node: ast.AST) -> str | None:
    name = None
    if isinstance(node, ast.Name):
        name = node.id
    elif isinstance(node, ast.Attribute):
        name = node.attr
    elif isinstance(node, ast.alias):
        name = node.name.rpartition(".")[2] if "." in node.name else node.name
    elif isinstance(node, ast.ImportFrom):
        name = (node.module or "").partition(".")[0]
    if name is None:
        return None
    if name in _REACHES_ALL or _INPUT.match(name):
        return f"{name!r} can reach any name"
    if name in _OF_ONE_PROCESS:
        return f"{name!r} gives each process something of its own"
    return None


def _harmless_methods(statement: ast.stmt) -> Iterator[ast.AST]:
    """What is called like a way to any name and is none: ``model.eval()`` takes no code, and what ``re.compile`` or
    ``model.compile`` gives would have to be executed, which is told by another name."""
    for node in ast.walk(statement):
        called = node.func if isinstance(node, ast.Call) and not (node.args or node.keywords) else None
        if isinstance(called, ast.Attribute) and called.attr == "eval":
            yield called
        elif isinstance(node, ast.Attribute) and node.attr == "compile":
            yield node


def _named_in_texts(statement: ast.stmt) -> frozenset[str]:
    """The names that pandas would look up, as in ``frame.query("age > @least")``."""
    texts = (node.value for node in ast.walk(statement) if isinstance(node, ast.Constant))
    return frozenset(name for text in texts if isinstance(text, str) for name in _LOOKED_UP.findall(text))


def _names(statement: ast.stmt) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The global names that a statement uses at once, those that code in it may use later, and those it binds."""
    try:
        table = symtable.symtable(ast.unparse(statement), "<cell>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        # Awaits outside of functions, for one; so everything counts.
        everything = frozenset(node.id for node in ast.walk(statement) if isinstance(node, ast.Name))
        return everything, frozenset(), everything
    at_once, bound = _own(table)
    later: set[str] = set()
    for inner, waits in _below(table):
        used = {symbol.get_name() for symbol in inner.get_symbols() if symbol.is_global()}
        if waits:
            later |= used
        else:
            at_once |= used
    return frozenset(at_once), frozenset(later), frozenset(bound)


def _own(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    symbols = table.get_symbols()
    bound = {
        symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    return {symbol.get_name() for symbol in symbols if symbol.is_referenced()}, bound


def _below(table: symtable.SymbolTable, waits: bool = False) -> Iterator[tuple[symtable.SymbolTable, bool]]:
    """The scopes in a scope, and whether what they do may wait until something is called: not so the bodies of classes,
    and of brackets that are worked out at once."""
    for child in table.get_children():
        later = waits or not (child.get_type() == "class" or child.get_name() in _WORKED_OUT)
        yield child, later
        yield from _below(child, later)


def _first(names: Collection[str]) -> str:
    return min(names)
