"""What a sampler is called with besides the checkpoint and the noise.

One rule says where an argument goes: to `make_sample(path, ...)` if it takes that name, else to every call of
`sample(key, n, ...)`. So a sampler is loaded once for all values of what only its calls depend on.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from etils import epath

from jaxfid.checkpoints.find import Checkpoint
from jaxfid.checkpoints.sampler_calls import ArgumentError, name_sampler
from jaxfid.report.swept import Setting

_OF_MAKING, _OF_CALLING = 1, 2
"""How many arguments come first: the path, and the key with the number or the labels."""


class ConfiguredSampler:
    """A user's sampler with its arguments, which keeps what it loaded last."""

    def __init__(
        self,
        make_sample: Callable[..., Any],
        arguments: Mapping[str, Any],
        swept: Sequence[str] = (),
    ) -> None:
        """Checks what can be checked before a checkpoint is loaded.

        Args:
          make_sample: The user's function.
          arguments: The same for all checkpoints.
          swept: Names of those that each row brings.

        Raises:
          ArgumentError: A name is given twice, or `make_sample` needs others.
        """
        self._make_sample, self._arguments = make_sample, dict(arguments)
        if both := [name for name in swept if name in arguments]:
            raise ArgumentError(
                f"sweep: {', '.join(both)}: expected no fixed value in sampler_args"
            )
        names = [*arguments, *swept]
        self.making = [name for name in names if _takes(make_sample, name, _OF_MAKING)]
        _check_complete(make_sample, self.making)
        self._loaded: dict[object, tuple[object, Callable[..., Any]]] = {}

    def at(self, checkpoint: Checkpoint) -> Callable[[epath.Path], Callable[..., Any]]:
        """Returns the sampler for one row: from the checkpoint's path to `sample(key, n)`."""
        arguments: dict[str, Any] = {**self._arguments, **checkpoint.swept}
        making = {name: v for name, v in arguments.items() if name in self.making}
        calling = {name: v for name, v in arguments.items() if name not in self.making}
        swept = [(name, v) for name, v in checkpoint.swept.items() if name in self.making]
        content = (str(checkpoint.path), checkpoint.stamp(), swept)

        def make_sample(path: epath.Path) -> Callable[..., Any]:
            sample = self._load_once(content, lambda: self._make_sample(path, **making))
            _check_calling(self._make_sample, sample, calling)
            return functools.partial(sample, **calling) if calling else sample

        make_sample.__wrapped__ = self._make_sample  # pyright: ignore[reportFunctionMemberAccess]
        return make_sample

    def release(self) -> None:
        """Forgets what was loaded, so that its memory is free."""
        self._loaded.clear()

    def _load_once(self, content: object, load: Callable[[], Any]) -> Callable[..., Any]:
        """What is loaded for this device, which is that of the thread; the one before goes first."""
        device = jax.config.jax_default_device  # pyright: ignore[reportAttributeAccessIssue]
        known, sample = self._loaded.get(device, (None, None))
        if sample is None or known != content:
            self._loaded.pop(device, None)
            sample = load()
            self._loaded[device] = content, sample
        return sample


def _parameters(function: Callable[..., Any]) -> Sequence[inspect.Parameter] | None:
    """None where Python cannot tell, as of functions in C."""
    try:
        return [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return None


def _names(function: Callable[..., Any], num_first: int) -> list[str]:
    """Names of the arguments that come after the first ones and can be given by name."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = [p for p in _parameters(function) or () if p.kind != p.VAR_KEYWORD]
    return [
        p.name
        for i, p in enumerate(parameters)
        if p.kind in by_name and not _is_first(p, i, num_first)
    ]


def _is_first(parameter: inspect.Parameter, place: int, num_first: int) -> bool:
    return place < num_first and parameter.kind != parameter.KEYWORD_ONLY


def _takes(function: Callable[..., Any], name: str, num_first: int) -> bool:
    parameters = _parameters(function) or ()
    takes_all = any(p.kind == p.VAR_KEYWORD for p in parameters)
    first = [p.name for i, p in enumerate(parameters) if _is_first(p, i, num_first)]
    return name in _names(function, num_first) or (takes_all and name not in first)


def _check_complete(make_sample: Callable[..., Any], names: Sequence[str]) -> None:
    if _parameters(make_sample) is None:
        return
    try:
        inspect.signature(make_sample).bind(None, **dict.fromkeys(names))
    except TypeError as error:
        signature = f"{name_sampler(make_sample)}{inspect.signature(make_sample)}"
        raise ArgumentError(
            f"sampler_args: expected what {signature} needs besides the path: {error}"
        ) from None


def _check_calling(
    make_sample: Callable[..., Any], sample: object, calling: Mapping[str, Setting]
) -> None:
    """Checks that the function for drawing takes what `make_sample` did not."""
    if not callable(sample) or _parameters(sample) is None:
        return  # the call itself will tell
    unknown = [name for name in calling if not _takes(sample, name, _OF_CALLING)]
    if unknown:
        known = [*_names(make_sample, _OF_MAKING), *_names(sample, _OF_CALLING)]
        close = difflib.get_close_matches(unknown[0], known, n=1)
        raise ArgumentError(
            f"sampler_args, sweep: neither {name_sampler(make_sample)} nor the function that it returns "
            f"takes {', '.join(unknown)}; they take {', '.join(known) or 'no further arguments'}"
            + (f"; did you mean {close[0]}?" if close else "")
        )
