"""Identity of a user's sampler, so that a comparison that goes on recognises it."""

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxfid.checkpoints.module_values import describe_environment_read, describe_globals
from jaxfid.checkpoints.sampler_calls import name_sampler
from jaxfid.checkpoints.user_modules import find_user_modules
from jaxfid.errors import InputError
from jaxfid.storage.digests import digest_arrays, digest_file
from jaxfid.storage.files import stat_file

_MAX_DIGESTED_BYTES = 1 << 28
"""Of a file that an argument names: a config is read, a model of many GiB is not."""

_REMEDY = "give sampler_id=, a name of your own for all that it depends on"


def describe_sampler(
    sampler: str | Callable[..., Any], sampler_id: str | None = None
) -> dict[str, object]:
    """Returns what a sampler's images depend on besides the checkpoint, as JSON can hold it.

    It holds the function's module and name, the arguments that `functools.partial` gave it, and digests
    of the source of its module and of all modules of the user's own that this one imports. It holds what
    these read from the environment by a name that the source shows, and numbers and text in their globals.
    What the sampler reads from files, and the versions of installed packages, are not seen.

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
        module, _, name = sampler.partition(":")
        arguments = _known_arguments(getattr(sys.modules.get(module), name, None))
        return {"name": sampler, "arguments": arguments, **_describe_modules(module)}
    function, arguments = _unpack(sampler)
    # The name and source would stay equal while such a value changes, and old scores would be taken for new.
    if _holds_values(function):
        raise InputError(
            f"sampler: expected a function of a module, found {name_sampler(function)}, which holds "
            f"values that no source shows; {_REMEDY}"
        )
    return {
        "name": name_sampler(function),
        "arguments": describe_arguments(arguments, "sampler"),
        **_describe_modules(function.__module__),
    }


def _known_arguments(function: object) -> dict[str, object]:
    """Arguments of a named `partial`; those that JSON cannot hold were made by the source of its module."""
    if not isinstance(function, functools.partial):
        return {}
    _, arguments = _unpack(function)
    known: dict[str, object] = {}
    for name, value in arguments.items():
        with contextlib.suppress(InputError):
            known[name] = _to_json(value, name, "sampler")
    return known


def describe_arguments(
    arguments: Mapping[str, Any], argument: str = "sampler_args"
) -> dict[str, object]:
    """Returns arguments of a sampler as JSON can hold them; arrays by their digests.

    A value that names a file has the digest of its content beside it.

    Args:
      arguments: By name.
      argument: What they are called in the message.

    Raises:
      InputError: An argument is neither what JSON can hold nor an array.
    """
    return {name: _to_json(value, name, argument) for name, value in arguments.items()}


def _describe_modules(name: str) -> dict[str, object]:
    """A digest of each source by its module, so that a refusal says which one changed."""
    modules = find_user_modules(name)
    return {
        "source": {module: digest_file(found.file) for module, found in modules.items()},
        "global": describe_globals(modules),
        "environment": describe_environment_read(modules),
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


def _to_json(value: Any, name: str, argument: str) -> object:  # noqa: ANN401
    if hasattr(value, "__fspath__"):
        value = str(value)
    if isinstance(value, str):
        return _with_content(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_to_json(item, name, argument) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _to_json(item, name, argument) for key, item in value.items()}
    if hasattr(value, "__array__"):
        return digest_arrays({"array": value})
    raise InputError(
        f"{argument}: expected what JSON can hold, or arrays, found {name} of type "
        f"{type(value).__name__}; {_REMEDY}"
    )


def _with_content(text: str) -> str:
    """A text; the name of a file, such as that of a config, with the digest of what is in the file."""
    try:
        if not Path(text).is_file():
            return text
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        return text
    num_bytes = stat_file(text).num_bytes
    content = digest_file(text)[:12] if num_bytes <= _MAX_DIGESTED_BYTES else f"{num_bytes} bytes"
    return f"{text} ({content})"
