"""Paths are opened in one room: a file, a pickle or a header that is read elsewhere has no guard."""

import ast
import functools
import pathlib

import pytest

import jaxfid

ROOT = pathlib.Path(jaxfid.__file__).parent
METHODS = {"open", "write_text", "write_bytes", "read_text", "read_bytes", "mmap"}
FUNCTIONS = {"open", "os.open", "np.load", "np.save", "np.savez", "np.savez_compressed"}
# Calls that name no file of a user's: a URL, an object that is already read.
NO_FILES = {"Image.open", "opener.open", "archive.open", "self._archive.open"}
NOT_YET = {
    "cli/output.py": {"os.open"},
    "images/tars.py": {"open"},
}
"""What still opens files itself. This list only gets shorter."""

UNPICKLERS = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}


@functools.cache
def parse(path):
    return ast.parse(path.read_text())


def calls_of(path):
    """The calls in a module that open, read or write a file."""
    for node in ast.walk(parse(path)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name.startswith("np.save") and ast.unparse(node.args[0]) == "file":
            continue  # a file that `write_file` opened
        last = name.rsplit(".", 1)[-1]
        if name in FUNCTIONS or (last in METHODS and name not in NO_FILES):
            yield name if name in FUNCTIONS else last


MODULES = sorted(p for p in ROOT.rglob("*.py") if p.relative_to(ROOT).parts[0] != "storage")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_opened_in_storage_alone(path):
    name = str(path.relative_to(ROOT))
    assert set(calls_of(path)) <= NOT_YET.get(name, set())


def test_no_module_unpickles():
    """`storage/pickles.py` uses `pickletools`, which splits bytes and makes nothing."""
    using = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        for node in ast.walk(parse(path))
        if imports_of(node) & UNPICKLERS
    }
    assert not using


def imports_of(node):
    """The modules that a line imports; `from pickle import dumps` can only write."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and [alias.name for alias in node.names] != ["dumps"]:
        return {node.module}
    return set()
