"""States of an evaluator as `flax.serialization` and Flax's checkpoints take them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from flax import serialization

_T = TypeVar("_T")


def register_with_flax(cls: type) -> None:
    """Makes a dataclass of arrays, or of other such dataclasses, known to `flax.serialization`."""
    names = [field.name for field in dataclasses.fields(cls)]

    def to_state(tree: object) -> dict[str, Any]:
        return {name: serialization.to_state_dict(getattr(tree, name)) for name in names}

    def from_state(target: _T, state: Mapping[str, Any]) -> _T:
        restored = {
            name: serialization.from_state_dict(getattr(target, name), state[name], name=name)
            for name in names
        }
        return dataclasses.replace(target, **restored)  # pyright: ignore[reportArgumentType]

    serialization.register_serialization_state(cls, to_state, from_state)
