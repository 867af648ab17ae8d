"""Names of shards as WebDataset writes them, with ranges of numbers in braces."""

import re

from jaxfid.errors import InputError

_NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MAX_SHARDS = 100_000


def expand_shards(name: str) -> list[str]:
    """Returns the names that one with `{000..012}` in it stands for; none where it stands for itself.

    Raises:
      InputError: They are too many, or none.
    """
    match = _NUMBERS.search(name)
    if match is None:
        return []
    first, last = int(match[1]), int(match[2])
    if not first <= last < first + _MAX_SHARDS:
        raise InputError(
            f"{name}: expected a range of 1 to {_MAX_SHARDS} numbers, found {match[0]}"
        )
    before, after = name[: match.start()], name[match.end() :]
    ends = expand_shards(after) or [after]  # a name may have several
    if (last + 1 - first) * len(ends) > _MAX_SHARDS:
        raise InputError(f"{name}: expected at most {_MAX_SHARDS} names, found more")
    numbers = range(first, last + 1)
    return [f"{before}{number:0{len(match[1])}d}{end}" for number in numbers for end in ends]
