"""Identity of a user's sampler, so that a comparison that goes on recognises it."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxfid.checkpoints.sampler_calls import name_sampler
from jaxfid.checkpoints.user_modules import digest_user_modules
from jaxfid.errors import InputError
from jaxfid.storage.digests import digest_arrays

_REMEDY = "give sampler_id=, a name of your own for all that it depends on"


def describe_sampler(
    sampler: str | Callable[..., Any], sampler_id: str | None = None
) -> dict[str, object]:
    """Returns what a sampler's images depend on besides the checkpoint, as JSON can hold it.

    It holds the function's module and name, the arguments that `functools.partial` gave it, and a digest
    of the source of its module and of all modules of the user's own that this one imports. What it
    reads from files, and the versions of installed packages, are not seen.

    Args:
      sampler: The user's function, or `module:function` of an imported module. By its name it may be
        anything: what it holds was made by the source of its module.
      sampler_id: What the user calls it; then nothing else is looked at.

    Raises:
      InputError: The function holds values that no source shows, as closures, lambdas and objects do, and no
        `sampler_id` is given.
    """
    if sampler_id is not None:
        return {"id": sampler_id}
    if isinstance(sampler, str):
        return {"name": sampler, "source": digest_user_modules(sampler.partition(":")[0])}
    function, arguments = _unpack(sampler)
    # The name and source would stay equal while such a value changes, and old scores would be taken for new.
    if _holds_values(function):
        raise InputError(
            f"sampler: expected a function of a module, found {name_sampler(function)}, which holds "
            f"values that no source shows; {_REMEDY}"
        )
    return {
        "name": name_sampler(function),
        "arguments": {name: _to_json(value, name) for name, value in arguments.items()},
        "source": digest_user_modules(function.__module__),
    }


def _unpack(function: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, object]]:
    """The function inside a `partial`, and its arguments by name or position."""
    arguments: dict[str, object] = {}
    if isinstance(function, functools.partial):  # a partial of a partial is one
        arguments = {str(place): value for place, value in enumerate(function.args)}
        arguments |= function.keywords
        function = function.func
    # What a decorator of the module holds, its source shows.
    return inspect.unwrap(function), arguments


def _holds_values(function: Callable[..., Any]) -> bool:
    name = getattr(function, "__qualname__", "<object>")
    owner = getattr(function, "__self__", None)
    bound = owner is not None and not inspect.ismodule(owner)  # a builtin's owner is its module
    return "<" in name or bound or bool(getattr(function, "__closure__", None))


def _to_json(value: Any, name: str) -> object:  # noqa: ANN401
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_to_json(item, name) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _to_json(item, name) for key, item in value.items()}
    if hasattr(value, "__fspath__"):
        return str(value)
    if hasattr(value, "__array__"):
        return digest_arrays({"array": value})
    raise InputError(
        f"sampler: expected arguments that JSON can hold, or arrays, found {name} of type "
        f"{type(value).__name__}; {_REMEDY}"
    )
