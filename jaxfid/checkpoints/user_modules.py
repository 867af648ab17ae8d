"""The user's own Python files that a module is made of."""

import ast
import dataclasses
import functools
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from jaxfid.storage.files import read_file

_MAX_SOURCE_BYTES = 1 << 26


@dataclasses.dataclass(frozen=True)
class UserModule:
    """A module of the user's own.

    Attributes:
      file: Its source.
      tree: The source, parsed; None where it is no Python.
      at_start: Whether it is imported with the module that was asked for, and not only inside functions.
    """

    file: Path
    tree: ast.Module | None
    at_start: bool


def find_user_modules(name: str) -> dict[str, UserModule]:
    """Returns a module and all modules of the user's own that it imports, by name.

    Imports are read in the source, those inside functions as well; what is imported by a name that is
    only made at run time is not found. Installed packages and the standard library are left out: versions
    tell them apart. Empty where the module has no file, as in a notebook.

    Args:
      name: Of an imported module.
    """
    found: dict[str, UserModule] = {}
    late: list[str] = []
    _follow(name, found, late, at_start=True)
    while late:
        _follow(late.pop(), found, late, at_start=False)
    return found


def _follow(name: str, found: dict[str, UserModule], late: list[str], *, at_start: bool) -> None:
    """Adds a module and all that it imports; those imported inside functions become `late`."""
    waiting = [name]
    while waiting:
        module = waiting.pop()
        file = None if module in found else _file_of(module)
        if file is None or not is_users(file):
            continue
        tree = _parse(file)
        found[module] = UserModule(file, tree, at_start)
        if tree is not None:
            package = module if file.name == "__init__.py" else module.rpartition(".")[0]
            waiting += _imports(_outside_functions(tree), package)
            late += _imports(ast.walk(tree), package)


def is_users(file: Path) -> bool:
    """Returns whether a file is Python source, but neither installed, nor Python's, nor ours."""
    return file.suffix == ".py" and not any(file.is_relative_to(folder) for folder in _installed())


def _file_of(module: str) -> Path | None:
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
    else:  # such as an import inside a function
        spec = _find_spec(module)
        file = spec.origin if spec is not None and spec.has_location else None
    return None if file is None else Path(file).absolute()


def _find_spec(module: str) -> ModuleSpec | None:
    """As `importlib.util.find_spec`, but nothing is imported, not even a package above."""
    package = module.rpartition(".")[0]
    path = None
    if package:
        above = _find_spec(package)
        if above is None or above.submodule_search_locations is None:
            return None
        path = above.submodule_search_locations
    try:
        return PathFinder.find_spec(module, path)
    except (
        KeyError
    ):  # in a package without __init__ (`google`) that is not imported: not the user's own
        return None


@functools.cache
def _installed() -> tuple[Path, ...]:
    """Folders whose modules are not the user's own; this package is told apart by its version."""
    paths = [sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    sites = [*site.getsitepackages(), site.getusersitepackages()]
    return (Path(__file__).parents[1], *map(Path, (*paths, *sites)))


def _parse(file: Path) -> ast.Module | None:
    try:
        return ast.parse(read_file(file, max_bytes=_MAX_SOURCE_BYTES))
    except (SyntaxError, ValueError):  # then it cannot be imported either
        return None


def _outside_functions(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs when the module is imported."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _imports(nodes: Iterable[ast.AST], package: str) -> Iterator[str]:
    """Names of what is imported; some of them are functions of a module, and have no file."""
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield from _with_parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])


def _with_parents(name: str) -> Iterator[str]:
    """`a.b.c` runs the packages `a` and `a.b` as well."""
    parts = name.split(".")
    yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1) if parts[0])
