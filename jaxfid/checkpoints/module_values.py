"""Values that a user's modules hold or read, and that their source does not show."""

import ast
import os
import re
import sys
from collections.abc import Iterator, Mapping

from jaxfid.checkpoints.user_modules import UserModule
from jaxfid.storage.digests import digest_text

_READ_BY_CALL = frozenset({"environ.get", "environ.pop", "environ.setdefault", "getenv"})

_OF_THE_PLACE = re.compile(
    r"(SLURM|OMPI|PMI|PMIX|TPU|KUBERNETES|CUDA|XLA|JAX)_.*"
    r"|(LOCAL_)?RANK|WORLD_SIZE|HOSTNAME|HOME|USER|TMPDIR|PWD|PATH"
)
"""What a launcher or shell sets: it differs between processes and restarts that draw the same images."""


def describe_globals(modules: Mapping[str, UserModule]) -> dict[str, object]:
    """Returns the numbers, truth values and text in the modules' globals, by `module.name`.

    Text is given by its digest, because it may be a password. Left out are globals that a function assigns
    to, such as counters, and modules that are imported inside functions, which may not be there yet.
    """
    found: dict[str, object] = {}
    for name, module in modules.items():
        values = vars(sys.modules[name]) if module.at_start and name in sys.modules else {}
        changing = _assigned_by_functions(module.tree)
        for variable, value in values.items():
            plain = isinstance(value, bool | int | float | str)
            if plain and not variable.startswith("__") and variable not in changing:
                found[f"{name}.{variable}"] = _digest_of_text(value)
    return found


def describe_environment_read(modules: Mapping[str, UserModule]) -> dict[str, object]:
    """Returns digests of the environment variables that the modules' source names; None of one not set.

    Left out are those that only say where a process runs.
    """
    trees = [module.tree for module in modules.values() if module.tree is not None]
    names = {name for tree in trees for node in ast.walk(tree) for name in _variables(node)}
    chosen = sorted(name for name in names if not _OF_THE_PLACE.fullmatch(name))
    return {name: _digest_of_text(os.environ.get(name)) for name in chosen}


def _digest_of_text(value: object) -> object:
    return digest_text(value) if isinstance(value, str) else value


def _assigned_by_functions(tree: ast.Module | None) -> set[str]:
    nodes = () if tree is None else ast.walk(tree)
    return {name for node in nodes if isinstance(node, ast.Global) for name in node.names}


def _variables(node: ast.AST) -> Iterator[str]:
    """The variable that an expression reads: `os.environ["X"]`, `os.environ.get("X")`, `os.getenv("X")`."""
    read: ast.expr | None = None
    if isinstance(node, ast.Subscript) and _ends_in(node.value, {"environ"}):
        read = node.slice
    elif isinstance(node, ast.Call) and _ends_in(node.func, _READ_BY_CALL) and node.args:
        read = node.args[0]
    elif isinstance(node, ast.Compare) and _ends_in(node.comparators[0], {"environ"}):
        read = node.left
    if isinstance(read, ast.Constant) and isinstance(read.value, str):
        yield read.value


def _ends_in(node: ast.expr, names: frozenset[str] | set[str]) -> bool:
    text = f".{ast.unparse(node)}" if isinstance(node, ast.Attribute | ast.Name) else ""
    return any(text.endswith(f".{name}") for name in names)
