"""A finished checkpoint, and its line in `results.jsonl`.

A run folder may come from anywhere, so nothing in it is believed: every field is checked as it is read.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import UnionType
from typing import Any, NoReturn

import numpy as np

from jaxfid.report.swept import Swept, name_row
from jaxfid.result import SetResult, to_set_result
from jaxfid.storage.names import shorten

_LONGEST_INTEGER = 20
_NUMBER = int | float
_ENTRY: Mapping[str, type | UnionType] = {
    "name": str,
    "step": int | None,
    "stamp": str,
    "seconds": _NUMBER,
    "scores": Mapping | None,
    "failure": str | None,
    "pictures": Mapping | None,
    "run": str | None,
    "noise_seed": int | None,
    "swept": Mapping | None,
}
_SCORES: Mapping[str, type | UnionType] = {
    "generated": str,
    "num_images": int | None,
    "metrics": Mapping,
    "warnings": list | None,
}
_NUMBERS = ("value", "stderr", "std", "stderr_reference", "checked")
_METRIC: Mapping[str, type | UnionType] = {
    **dict.fromkeys(_NUMBERS, _NUMBER | None),
    "reason": str | None,
}
_PICTURE: Mapping[str, type | UnionType] = {
    "file": str,
    "index": int,
    "realism": _NUMBER | None,
    "nearest": str | None,
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image of a set that was kept to be looked at.

    Attributes:
      file: Its place below `images/`.
      index: Its position in the set.
      realism: Of an image that was chosen for it.
      nearest: The file of the reference image whose features are nearest, where that is known.
    """

    file: str
    index: int
    realism: float | None = None
    nearest: str | None = None


@dataclasses.dataclass(frozen=True)
class Entry:
    """A finished checkpoint.

    Attributes:
      name: Which one.
      step: Its step, None where its name has none.
      stamp: What it was like when it was scored.
      seconds: How long sampling and scoring took.
      scores: Its metrics; None where there could be none.
      failure: Why not.
      pictures: Some of its images by kind: `first`, `lowest` and `highest` realism.
      run: The training run that it belongs to, where several runs of one model are compared.
      noise_seed: What its images were drawn from, where each checkpoint is drawn several times.
      swept: The settings that its images were drawn with, where a sweep has several.
    """

    name: str
    step: int | None
    stamp: str
    seconds: float
    scores: SetResult | None = None
    failure: str | None = None
    pictures: Mapping[str, Sequence[Picture]] = dataclasses.field(default_factory=dict)
    run: str | None = None
    noise_seed: int | None = None
    swept: Swept = dataclasses.field(default_factory=dict)

    @property
    def own_name(self) -> str:
        """The checkpoint's name without its run, its settings and its noise."""
        draw = name_row("", self.swept, self.noise_seed)
        return self.name.removesuffix(draw).removeprefix("" if self.run is None else f"{self.run}/")

    def to_fields(self, *, with_influence: bool = False) -> dict[str, Any]:
        """Returns what JSON holds of it; numbers that are not finite become null.

        Args:
          with_influence: Whether the influences come along, by which entries are compared.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.scores is not None:
            fields["scores"] = self.scores.to_fields(with_influence=with_influence)
        fields["pictures"] = {
            kind: [dataclasses.asdict(picture) for picture in found]
            for kind, found in self.pictures.items()
        }
        return _without_nan(fields)


def to_line(entry: Entry) -> str:
    """Returns an entry as a line of JSON."""
    return json.dumps(entry.to_fields(with_influence=True), allow_nan=False) + "\n"


def from_line(line: bytes) -> Entry:
    """Returns the entry that `to_line` wrote.

    Raises:
      ValueError: It is none; the message says what is wrong.
    """
    fields = _check(parse_object(line), _ENTRY)
    pictures = fields["pictures"] or {}
    _check(pictures, dict.fromkeys(pictures, list))
    return Entry(
        name=fields["name"],
        step=fields["step"],
        stamp=fields["stamp"],
        seconds=fields["seconds"],
        scores=None if fields["scores"] is None else _to_scores(fields["scores"]),
        failure=fields["failure"],
        pictures={kind: [to_picture(p) for p in found] for kind, found in pictures.items()},
        run=fields["run"],
        noise_seed=fields["noise_seed"],
        swept=_to_swept(fields["swept"] or {}),
    )


def to_picture(fields: object) -> Picture:
    """Returns the picture whose fields came from JSON.

    Raises:
      ValueError: It is none, or its file does not lie in the folder of the pictures.
    """
    picture = Picture(**_check(fields, _PICTURE))
    _check_inside(picture.file)
    if picture.nearest is not None:
        _check_inside(picture.nearest)
    return picture


def parse_object(text: bytes) -> dict[str, Any]:
    """Returns a JSON object of bounded numbers.

    Raises:
      ValueError: The text is no JSON, is nested too deeply, or holds something else.
    """
    try:
        # Python's JSON takes NaN, infinity and numbers of any length, which JSON does not have.
        found = json.loads(
            text, parse_constant=_refuse, parse_float=_to_finite, parse_int=_to_integer
        )
    except RecursionError as error:
        raise ValueError("JSON that is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"{shorten(found)} where fields were expected")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant}, which is not a number that jaxfid writes")


def _to_finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(shorten(digits))


def _to_integer(digits: str) -> int:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else _refuse(shorten(digits))


def _check(fields: object, kinds: Mapping[str, type | UnionType]) -> dict[str, Any]:
    """Those fields, None where there is none, each of the kind that is expected."""
    if not isinstance(fields, Mapping):
        raise ValueError(f"{shorten(fields)} where fields were expected")
    for name, kind in kinds.items():
        value = fields.get(name)
        # To Python True is an int; to JSON it is not a number.
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"{shorten(name)}: {shorten(value)}, which is not of its type")
    return {name: fields.get(name) for name in kinds}


def _check_inside(file: str) -> None:
    """Checks that a file name leads to a file below the folder, on every system."""
    path = PurePosixPath(file)
    # A backslash and a drive's colon separate on Windows, where the folder may be opened next.
    strange = set(file) & set("\\:") or not file.isprintable()
    if strange or path.is_absolute() or not path.parts or ".." in path.parts:
        raise ValueError(f"a picture {shorten(file)}, which does not lie in the folder")


def _to_swept(fields: Mapping[str, Any]) -> Swept:
    wrong = [v for v in fields.values() if not isinstance(v, bool | int | float | str | None)]
    if wrong:
        raise ValueError(f"a setting {shorten(wrong[0])}, which is not of its type")
    return fields


def _to_scores(fields: Mapping[str, Any]) -> SetResult:
    checked = _check(fields, _SCORES)
    for metric in checked["metrics"].values():
        _check(metric, _METRIC)
    if not all(isinstance(warning, str) for warning in checked["warnings"] or ()):
        raise ValueError("a warning that is no text")
    try:
        with np.errstate(invalid="raise"):  # which a signalling NaN among influences is
            return to_set_result(fields)
    except (KeyError, TypeError, AttributeError, FloatingPointError) as error:
        raise ValueError(f"scores of another kind: {error}") from error


def _without_nan(tree: Any) -> Any:  # noqa: ANN401
    if isinstance(tree, Mapping):
        return {name: _without_nan(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
