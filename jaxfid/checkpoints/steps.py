"""The step of a checkpoint, read from its name by one rule.

The step is

1. the number behind a word for it: `step1200`, `iter_500k`, then `checkpoint_100`, then `epoch=3`;
2. else the last whole number that stands alone: `ema_100`, `000200`, `model-1e5`;
3. else the number behind a name of one word, `weights100`, unless that word is `v`, for version.

Everything else that is made of digits is something else: `loss0.50`, `ema0.9999`, `model_v2`, `img512`,
`lr5e-4`, a date. `step_pattern` is the way to say otherwise.
"""

import re

from jaxfid.errors import InputError

# Words of the first group win over those of the second wherever they stand, and so on.
_WORDS = ("(?:global)?steps?|iters?|iterations?", "checkpoints?|chkpts?|ckpts?|ck", "epochs?")
# Exponents of two digits: 1e5 is a step, and 1e999999 would fill the memory.
_NUMBER = r"(\d+)(?:e(\d\d?)|([kKmM]))?(?![A-Za-z0-9]|\.\d)"
_NAMED = [re.compile(rf"(?<![A-Za-z])(?:{words})[-_=. ]?{_NUMBER}", re.I) for words in _WORDS]
_ALONE = re.compile(r"(\d+)(?:e(\d\d?))?")
_ONE_WORD = re.compile(r"(?!v\d)[A-Za-z]+(\d+)", re.I)
# Decimals with or without exponent, small numbers such as learning rates, and dates.
_NO_STEP = re.compile(r"\d+(?:\.\d+)+(?:e-?\d+)?|\d+e-\d+|\d{4}-\d\d-\d\d", re.I)
_ENDING = re.compile(r"\.[A-Za-z]+\d?$")
_POWERS = {"k": 1_000, "m": 1_000_000}


def find_step(name: str, pattern: re.Pattern[str] | None = None) -> int | None:
    """Returns the step in the name of a file or folder, None where it has none.

    Args:
      name: Without its folder.
      pattern: Read the step with this instead of by the rule above, as `compile_step_pattern` says.

    Raises:
      InputError: What the pattern finds is not a whole number.
    """
    if pattern is not None:
        return _match_pattern(name, pattern)
    stem = _ENDING.sub("", name)
    for named in _NAMED:
        if matches := list(named.finditer(name)):
            digits, exponent, power = matches[-1].groups()
            return int(digits) * 10 ** int(exponent or 0) * _POWERS.get((power or "").lower(), 1)
    parts = re.split(r"[^A-Za-z0-9#]+", _NO_STEP.sub("#", stem))
    if alone := [match for part in parts if (match := _ALONE.fullmatch(part))]:
        return int(alone[-1][1]) * 10 ** int(alone[-1][2] or 0)
    word = _ONE_WORD.fullmatch(stem)
    return None if word is None else int(word[1])


def compile_step_pattern(pattern: str) -> re.Pattern[str]:
    """Returns the regular expression that a user gave to find steps with.

    The step is its group called `step`, else its first group, else the whole match.

    Raises:
      InputError: It is no regular expression.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"step_pattern: expected a regular expression, found {pattern!r}: {error}"
        ) from error


def _match_pattern(name: str, pattern: re.Pattern[str]) -> int | None:
    match = pattern.search(name)
    if match is None:
        return None
    group = "step" if "step" in pattern.groupindex else min(pattern.groups, 1)
    text = match[group]
    if text is None or not text.isdecimal():
        raise InputError(
            f"step_pattern: expected {pattern.pattern!r} to find a whole number in {name!r}, "
            f"found {text!r}; put the digits into a group, as in 'step(\\d+)'"
        )
    return int(text)
