"""Why two numbers differ: the provenance of two files compared, and their moments where both have them."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxfid.errors import InputError
from jaxfid.extraction.image_set import open_image_set
from jaxfid.metrics.frechet.distance import frechet_distance
from jaxfid.provenance import Provenance, describe_difference
from jaxfid.result import Result
from jaxfid.storage.files import read_file
from jaxfid.storage.paths import as_path

MAX_RESULT_BYTES = 1 << 28
"""Results of a thousand sets with their classes are far below this."""


@dataclasses.dataclass(frozen=True)
class Explained:
    """What a file tells of the numbers in it.

    Attributes:
      name: The file.
      entries: What its numbers depend on, by name.
      values: Its metrics by set and name, where it is a result.
      mean: Mean of its features, where it has any.
      cov: Their covariance.
    """

    name: str
    entries: Mapping[str, Any]
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)
    mean: Float[np.ndarray, " d"] | None = None
    cov: Float[np.ndarray, "d d"] | None = None


def explain(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> list[str]:
    """Returns in words how two results, statistics or feature files differ.

    Args:
      a: A result as JSON, a statistics file or a features file.
      b: The other.

    Raises:
      InputError: A file is none of these.
    """
    first, second = _open(a), _open(b)
    # What the numbers depend on comes first: it explains the numbers below it.
    unequal = Provenance(first.entries).diff(second.entries)
    lines = [_describe(name, here, there) for name, here, there in unequal]
    for name in sorted({*first.values} & {*second.values}):
        here, there = first.values[name], second.values[name]
        if here != there:
            lines.append(f"{name}: {here:.10g} against {there:.10g}, {here - there:+.3g}")
    lines += _compare_moments(first, second)
    return lines or ["no difference is recorded in these files"]


def _describe(name: str, here: object, there: object) -> str:
    missing = [side for side, value in (("first", here), ("second", there)) if value is None]
    if missing:  # no difference yet: other tools' files say little of themselves
        known = there if here is None else here
        return f"{name}: {known} in one file, not recorded in the {missing[0]} one"
    return describe_difference(name, here, there)


def _compare_moments(first: Explained, second: Explained) -> list[str]:
    if first.mean is None or second.mean is None or first.cov is None or second.cov is None:
        return []
    if len(first.mean) != len(second.mean):
        return [f"features: {len(first.mean)} against {len(second.mean)} of an image"]
    shift = float(np.linalg.norm(first.mean - second.mean))
    spread = float(np.linalg.norm(first.cov - second.cov) / np.linalg.norm(first.cov))
    distance = frechet_distance(first.mean, first.cov, second.mean, second.cov)
    return [
        f"means: {shift:.4g} apart",
        f"covariances: {100 * spread:.3g} % of the first apart",
        f"Frechet distance of the two: {distance:.6g}",
    ]


def _open(path: str | os.PathLike[str]) -> Explained:
    if as_path(path).suffix == ".json":  # its content has no signature to know it by
        return _open_result(path)
    image_set = open_image_set(path)
    if image_set.stats is None and image_set.features is None:
        raise InputError(
            f"{path}: expected a result (.json), a statistics file or a features file, found images; "
            "make statistics of them with jaxfid stats"
        )
    known = image_set.known({"any": "features"})["any"]
    stats = known.stats["features"]
    entries = {**(known.provenance or {}), "number of images": known.count}
    return Explained(str(path), _flat(entries), mean=stats.mean, cov=stats.cov)


def _open_result(path: str | os.PathLike[str]) -> Explained:
    content = read_file(path, max_bytes=MAX_RESULT_BYTES)
    try:
        result = Result.from_json(content.decode())
    except (InputError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from error
    entries: dict[str, Any] = {
        "reference": result.reference.get("name"),
        "images of the reference": result.reference.get("num_images"),
        **(next(iter(result.extractors.values()), None) or {}),
        "versions": result.environment.get("versions"),
        "device": result.environment.get("device"),
    }
    values = {}
    for number, scored in enumerate(result.results):
        entries[f"images of set {number}"] = scored.num_images
        for name, metric in scored.metrics.items():
            if metric.value is not None:
                values[f"{name} of set {number}"] = metric.value
    # Through JSON once, so that a tuple here and a list in the other file are no difference.
    return Explained(str(path), _flat(json.loads(json.dumps(entries))), values)


def _flat(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries with those of `versions` beside them, so that each is compared by itself."""
    rest = {name: value for name, value in entries.items() if name not in ("versions", "source")}
    return rest | {f"version of {n}": v for n, v in (entries.get("versions") or {}).items()}
