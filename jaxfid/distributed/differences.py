"""What several processes see differently, in words."""

import json
import re
from collections.abc import Mapping, Sequence

_DIGEST, _SHORT = re.compile(r'"([0-9a-f]{12})[0-9a-f]{52}"'), r'"\1..."'


def find_differences(seen: Sequence[Mapping[str, object]]) -> list[str]:
    """Returns which process sees which value, for every name whose values are not all equal."""
    names = sorted({name for one in seen for name in one})
    values = {name: [one.get(name) for one in seen] for name in names}
    return [_describe(n, found) for n, found in values.items() if any(v != found[0] for v in found)]


def _describe(name: str, values: Sequence[object]) -> str:
    processes: dict[str, list[int]] = {}
    for index, value in enumerate(values):
        processes.setdefault(json.dumps(value, ensure_ascii=False), []).append(index)
    seen = [
        f"{_DIGEST.sub(_SHORT, value)} on {_name_processes(who)}"
        for value, who in processes.items()
    ]
    return f"{name} is {', '.join(seen)}"


def by_number(names: Sequence[str]) -> dict[str, str]:
    """Returns the sets by their places, under which several processes can be compared."""
    return {f"set {number}": name for number, name in enumerate(names)}


def _name_processes(indices: Sequence[int]) -> str:
    if len(indices) == 1:
        return f"process {indices[0]}"
    shown = ", ".join(map(str, indices[:5]))
    return f"processes {shown}" + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")
