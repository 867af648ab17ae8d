"""Compiled functions that all uses of a network share, so that it compiles once in a process."""

import weakref
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from jaxfid.extractors.interface import Extractor, SharedApply

_T = TypeVar("_T")

_brought: dict[SharedApply, dict[Hashable, Any]] = {}
_own: weakref.WeakKeyDictionary[Extractor, dict[Hashable, Any]] = weakref.WeakKeyDictionary()


def share(extractor: Extractor, key: Hashable, make: Callable[[], _T]) -> _T:
    """Returns what `make` has given for an equal network and key, at the first time by calling it.

    Networks that jaxfid brings are equal where their functions are, whatever the weights: compiled
    functions get these as an argument. A user's network is equal to itself alone, and what was made for it
    goes when it goes.

    Args:
      extractor: The network.
      key: All else that the result depends on. The input rule and the default feature count anyway.
      make: Its result must not hold on to the extractor or its weights.
    """
    apply = extractor.apply
    is_brought = isinstance(apply, SharedApply)
    made = _brought.setdefault(apply, {}) if is_brought else _own.setdefault(extractor, {})
    key = (key, extractor.protocol, extractor.default_feature)
    if key not in made:
        made[key] = make()
    return made[key]
