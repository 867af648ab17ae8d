"""Functions that a user names on the command line."""

import importlib
import sys
from collections.abc import Callable
from typing import Any

from jaxfid.errors import InputError


def load_function(name: str, *, argument: str) -> Callable[..., Any]:
    """Returns the function of that name, `module:function`; modules of the current folder are found too.

    Args:
      name: What the user wrote.
      argument: Where, for the message.

    Raises:
      InputError: It is not written so, or there is no such module or function.
    """
    module_name, colon, function_name = name.partition(":")
    if not (module_name and colon and function_name):
        raise InputError(f"{argument}: expected module:function, found {name!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as python -m has it, and a console script has not
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and misses another
        raise InputError(f"{argument}: there is no module {module_name} to import") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(f"{argument}: {module_name} has no function {function_name}")
    return function
