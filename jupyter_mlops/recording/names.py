"""What a piece of Python does with global names: reads, binds, changes in place."""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterator

import msgspec


class Names(msgspec.Struct, frozen=True):
    """What a piece of code does with global names."""

    read: frozenset[str] = frozenset()
    """Read before it binds them itself, or somewhere in a function."""
    bound: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    """Objects changed in place."""
    opaque: bool = False
    """It may bind any name: ``from x import *``, ``%run``, ``exec``."""

    @property
    def written(self) -> frozenset[str]:
        return self.bound | self.changed

    @property
    def replaced(self) -> frozenset[str]:
        """Bound to something that does not depend on what they were."""
        return self.bound - self.read


def names_in(code: str) -> Names:
    """What ``code`` does with global names; nothing when it does not parse, because then it did nothing. Lines of
    magics are passed over, unless they were turned into calls."""
    code = _MAGIC_LINE.sub(r"\1pass", code)
    try:
        tree = ast.parse(code)
        table = symtable.symtable(ast.unparse(_WithoutInlining().visit(ast.parse(code))), "<cell>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return Names()
    read, bound = _table_names(table)
    scan = _Scan()
    scan.visit(tree)
    inner = [names_in(source) for source in scan.nested]
    first = _FirstUse()
    first.visit(tree)
    # A name bound before it is read is not read from outside, unless a function (which runs at any time) reads it.
    read = (read | (first.read & bound)) - (first.bound - _function_reads(table))
    return Names(
        read=frozenset(read).union(*(names.read - bound for names in inner)),
        bound=frozenset(bound | scan.bound).union(*(names.bound for names in inner)),
        changed=frozenset(scan.changed - scan.imported).union(*(names.changed for names in inner)),
        opaque=scan.opaque or any(names.opaque for names in inner),
    )


_MUTATORS = frozenset(
    "add append appendleft clear discard extend fit fit_transform insert load_state_dict partial_fit pop popitem "
    "remove reverse setdefault shuffle sort step update zero_grad".split()
)
_MAGIC_LINE = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)
_GIVEN = re.compile(r"(?:^|\s)(?:-p|--parameters)\s+([^\W\d]\w*)")
_RUNS_ITS_CELL = frozenset("time timeit capture prun mlops debug".split())
_ALTERS_NAMESPACE = frozenset("run store load_ext reset reset_selective pylab macro recall rerun".split()) - {
    "load_ext"
}


class _Scan(ast.NodeVisitor):
    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.imported: set[str] = set()
        self.bound: set[str] = set()
        self.nested: list[str] = []
        self.opaque = False

    def visit_Import(self, node: ast.Import) -> None:
        self.imported.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.opaque |= any(alias.name == "*" for alias in node.names)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._change(node.target)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, (ast.Store, ast.Del)):
            self._change(node)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, (ast.Store, ast.Del)):
            self._change(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        if isinstance(called, ast.Attribute):
            in_place = any(
                word.arg == "inplace" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
                for word in node.keywords
            )
            if called.attr in _MUTATORS or in_place:
                self._change(called.value)
            if called.attr in ("run_line_magic", "run_cell_magic"):
                self._magic(node)
        elif isinstance(called, ast.Name) and called.id in ("exec", "globals"):
            self.opaque = True
        self.generic_visit(node)

    def _magic(self, node: ast.Call) -> None:
        words = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        if not words or words[0] in _ALTERS_NAMESPACE:
            self.opaque |= bool(words)
        elif words[0] in _RUNS_ITS_CELL:
            self.nested.append(words[-1])
            if words[0] == "mlops" and len(words) == 3:
                self.bound.update(_GIVEN.findall(words[1]))

    def _change(self, node: ast.expr) -> None:
        while isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
        if isinstance(node, ast.Name):
            self.changed.add(node.id)


def _table_names(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """The global names that a module's code reads anywhere, and those it binds."""
    read = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    bound = {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()
    }
    for inner in _tables_below(table):
        for symbol in inner.get_symbols():
            if symbol.is_global():
                if symbol.is_referenced():
                    read.add(symbol.get_name())
                if symbol.is_assigned():
                    bound.add(symbol.get_name())
    return read, bound


def _tables_below(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _tables_below(child)


def _function_reads(table: symtable.SymbolTable) -> set[str]:
    return {
        symbol.get_name()
        for inner in _tables_below(table)
        if inner.get_type() == "function" and inner.get_name() != "genexpr"
        for symbol in inner.get_symbols()
        if symbol.is_global() and symbol.is_referenced()
    } - {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}


class _WithoutInlining(ast.NodeTransformer):
    """Make all comprehensions generators: from Python 3.12 on, the names of others are told as those of what is around
    them."""

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.GeneratorExp:
        self.generic_visit(node)
        return ast.GeneratorExp(node.elt, node.generators)

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.GeneratorExp:
        self.generic_visit(node)
        return ast.GeneratorExp(ast.Tuple([node.key, node.value], ast.Load()), node.generators)


class _FirstUse(ast.NodeVisitor):
    """Whether the first use of each name at the top level reads or binds it, in the order of evaluation."""

    def __init__(self) -> None:
        self.read: set[str] = set()
        self.bound: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read |= {node.id} - self.bound
        else:
            self._bind(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._visit_all(node.value, *node.targets)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._visit_all(node.value, node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._visit_all(node.value, node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.read |= {node.target.id} - self.bound
        self._visit_all(node.value, node.target)

    def visit_For(self, node: ast.For) -> None:
        self._visit_all(node.iter, node.target, *node.body, *node.orelse)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._visit_all(node.iter, *node.ifs)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._visit_all(*node.decorator_list, *node.args.defaults)
        self._bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_all(*node.decorator_list, *node.bases, *node.keywords)
        self._bind(node.name)

    def visit_alias(self, node: ast.alias) -> None:
        self._bind((node.asname or node.name).partition(".")[0])

    def _bind(self, name: str) -> None:
        self.bound |= {name} - self.read

    def _visit_all(self, *nodes: ast.AST) -> None:
        for node in nodes:
            self.visit(node)
