"""Dataclasses of arrays as JAX pytrees."""

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeVar

import jax

_T = TypeVar("_T")


def array_tree(cls: type[_T]) -> type[_T]:
    """Registers a frozen dataclass as a pytree; a field with metadata `static` belongs to the structure.

    Unlike `jax.tree_util.register_dataclass` it does not call `__init__` to put a tree together: JAX also
    puts shardings, axes and other placeholders where arrays are, which a check of types refuses.
    """
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    static = tuple(f.name for f in fields if f.metadata.get("static"))
    leaves = tuple(f.name for f in fields if f.name not in static)

    def flatten(tree: _T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return (
            tuple(getattr(tree, name) for name in leaves),
            tuple(getattr(tree, name) for name in static),
        )

    def flatten_with_keys(tree: _T) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        values, structure = flatten(tree)
        keys = map(jax.tree_util.GetAttrKey, leaves)
        return tuple(zip(keys, values, strict=True)), structure

    def unflatten(structure: tuple[Any, ...], values: Iterable[Any]) -> _T:
        tree = object.__new__(cls)
        for name, value in zip((*leaves, *static), (*values, *structure), strict=True):
            object.__setattr__(tree, name, value)
        return tree

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
