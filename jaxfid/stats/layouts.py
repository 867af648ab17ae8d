"""Where the files of each tool hold mean and covariance, and how they become statistics."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from jaxfid.errors import InputError
from jaxfid.notebook import make_table
from jaxfid.stats.gaussian import check_gaussian
from jaxfid.stats.json_array import read_json_array
from jaxfid.storage.names import shorten

Arrays = Mapping[str, Any]
"""What a file holds, by name: arrays, and in a pickle numbers and texts as well."""

_BLOCK_ROWS = 4096
_SHOWN_NAMES = 20


@dataclasses.dataclass(frozen=True)
class Stats:
    """Mean and covariance of a set's features.

    Attributes:
      mean: float64, (d,).
      cov: float64, (d, d), with ddof 1 where jaxfid made it.
      count: Images; None where a file does not say.
      provenance: What made the features; None where a file does not say.
      spatial: The same of sFID's features, which ADM's files hold as well.
    """

    # Users make these: a wrong shape is refused where it is used, by name, and not by a type.
    mean: Float[np.ndarray, "..."]
    cov: Float[np.ndarray, "..."]
    count: int | None = None
    provenance: Mapping[str, Any] | None = None
    spatial: "Stats | None" = None

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._facts())
        return f"Stats({facts})"

    def _repr_html_(self) -> str:
        return make_table(("statistics", ""), self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        """What there is to know of them without their 4 million numbers."""
        told = self.provenance or {}
        names = {"protocol": "protocol", "weights": "weights_name", "source": "source"}
        known = {name: told[key] for name, key in names.items() if told.get(key) is not None}
        count = "unknown" if self.count is None else self.count
        facts = {"features": np.shape(self.mean)[-1] if np.ndim(self.mean) else 0, "count": count}
        return [(name, str(value)) for name, value in {**facts, **known}.items()]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Names under which a tool keeps the moments.

    Attributes:
      tools: Who writes it.
      mean: Name of the mean.
      cov: Name of the covariance.
      counts: Names that the number of images may have, which may be absent.
      raw: Whether mean and covariance are sums of `x` and `outer(x, x)` instead.
    """

    tools: str
    mean: str
    cov: str
    counts: tuple[str, ...] = ()
    raw: bool = False


LAYOUTS = (
    Layout(
        "jaxfid, TTUR, pytorch-fid, clean-fid, ADM, EDM, EDM2, FD-loss",
        *("mu", "sigma", ("count", "num_images")),
    ),
    Layout("imeanflow, forks of torch-fidelity", "ref_mu", "ref_sigma"),
    Layout("stylegan2-pytorch", "mean", "cov"),
    Layout("StyleGAN2-ADA, StyleGAN3", "raw_mean", "raw_cov", ("num_items",), raw=True),
    Layout("StyleGAN, StyleGAN2", "[0]", "[1]"),
)
"""Pairs that are read, in the order in which they are tried."""

FEATURE_NAMES = {"features": "jaxfid", "pool_3": "score_sde, TF-GAN", "reps": "dgm-eval"}
"""Names of an array of feature vectors, with the tools that write it."""

_SPATIAL = Layout("jaxfid, ADM", "mu_s", "sigma_s", ("count",))
_PREFERRED_GROUP = "fid"


def wanted_names() -> set[str]:
    """Returns every name of an array that may be read of a flat file."""
    pairs = {name for layout in (*LAYOUTS, _SPATIAL) for name in (layout.mean, layout.cov)}
    counts = {name for layout in LAYOUTS for name in layout.counts}
    return pairs | counts | set(FEATURE_NAMES) | {"provenance"}


def is_known(names: Iterable[str]) -> bool:
    """Whether a file with arrays of these names holds statistics, or features to make them from."""
    known = {layout.mean for layout in LAYOUTS} | set(FEATURE_NAMES)
    return not known.isdisjoint(names)


def make_stats(arrays: Arrays, found: Iterable[str], group: str | None = None) -> Stats:
    """Returns the statistics in what a file holds.

    StyleGAN's sums become a covariance with ddof 1, where its own FID uses ddof 0. Of features,
    mean and covariance are taken.

    Args:
      arrays: What was read.
      found: All names in the file, for messages.
      group: Which of several statistics (EDM2 has one per network, FD-loss one per file that it
        packed). Without it: `fid`, or the only one.

    Raises:
      InputError: The arrays are missing, ambiguous, or no mean and covariance.
    """
    # Names at the top come first: a file of ours with a dict beside is still a file of ours.
    if group is not None or not is_known(arrays):
        arrays = _choose_group(arrays, found, group)
    for layout in LAYOUTS:
        if layout.mean in arrays:
            spatial = _read_layout(arrays, _SPATIAL) if _SPATIAL.mean in arrays else None
            return dataclasses.replace(_read_layout(arrays, layout), spatial=spatial)
    name = next(name for name in FEATURE_NAMES if name in arrays)
    return _from_features(arrays[name], name, _read_provenance(arrays))


def _choose_group(arrays: Arrays, found: Iterable[str], group: str | None) -> Arrays:
    """The arrays below one name, with the numbers beside it."""
    groups = [name.removesuffix("/mu") for name in arrays if name.endswith("/mu")]
    chosen = group
    if chosen is None and groups:
        chosen = _PREFERRED_GROUP if _PREFERRED_GROUP in groups else groups[0]
        # A guess between networks could give a number of the wrong one.
        if chosen != _PREFERRED_GROUP and len(groups) > 1:
            raise InputError(f"expected a choice of {_listing(groups)}: name one, as in PATH#NAME")
    if chosen is None:
        raise InputError(_expectation(found))
    if chosen not in groups:
        raise InputError(
            f"expected statistics called {shorten(chosen)}, found {_listing(groups) or 'one unnamed'}"
        )
    inside = {
        n.removeprefix(f"{chosen}/"): a for n, a in arrays.items() if n.startswith(f"{chosen}/")
    }
    return {name: array for name, array in arrays.items() if "/" not in name} | inside


def _expectation(found: Iterable[str]) -> str:
    pairs = "; ".join(f"{layout.mean}, {layout.cov} ({layout.tools})" for layout in LAYOUTS)
    features = "; ".join(f"{name} ({tools})" for name, tools in FEATURE_NAMES.items())
    names = _listing(found) or "no names"
    return f"expected one of the pairs {pairs}, or features: {features}; found {names}"


def _listing(names: Iterable[str]) -> str:
    names = [name or "an unnamed value" for name in names]
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    return ", ".join(f"{name:.60}" for name in names[:_SHOWN_NAMES]) + more


def _read_layout(arrays: Arrays, layout: Layout) -> Stats:
    if layout.cov not in arrays:
        raise InputError(f"expected {layout.mean} and {layout.cov}, found {layout.mean} alone")
    mean, cov = _as_array(arrays, layout.mean), _as_array(arrays, layout.cov)
    if cov.dtype == np.float16:
        # Rounded to three digits it is no longer positive semi-definite, and the distance is noise.
        raise InputError(f"{layout.cov}: expected float32 or float64, found float16")
    mean, cov = check_gaussian(mean, cov, mean_name=layout.mean, cov_name=layout.cov)
    count = _read_count(layout, arrays)
    if layout.raw:
        mean, cov = _centre(mean, cov, count, layout)
    return Stats(mean, cov, count, _read_provenance(arrays))


def _as_array(arrays: Arrays, name: str) -> np.ndarray:
    """Returns the array of that name. A list is refused: what a pickle shares in it can be of any size."""
    array = arrays[name]
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name}: expected real numbers, found {shorten(array)}")
    return array


def _centre(
    total: np.ndarray, outer: np.ndarray, count: int | None, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    if count is None:
        raise InputError(f"expected {layout.counts[0]} beside {layout.mean}, which is a sum")
    # StyleGAN's class keeps zeros where it was asked for features alone.
    if not outer.any():
        raise InputError(f"{layout.cov}: expected sums, found zeros: only features were captured")
    # In float64, as the sums are: the difference loses digits where means are large.
    mean = total / count
    return mean, (outer - count * np.outer(mean, mean)) / (count - 1)


def _read_count(layout: Layout, arrays: Arrays) -> int | None:
    name = next((name for name in layout.counts if name in arrays), None)
    if name is None:
        return None
    value = arrays[name]
    # A list or text would become an array of any size or none.
    count = np.asarray(value if isinstance(value, np.ndarray | int) else np.nan)
    if count.shape != () or count.dtype.kind not in "iu" or count < 2:
        shown = f"{count!r:.60}" if count.ndim else shorten(count.item())
        raise InputError(f"{name}: expected a number of images from 2 up, found {shown}")
    return int(count)


def _read_provenance(arrays: Arrays) -> dict[str, Any] | None:
    return read_json_array(arrays["provenance"], "provenance") if "provenance" in arrays else None


def _from_features(features: object, name: str, provenance: dict[str, Any] | None) -> Stats:
    rows = check_features_array(features, name)
    if len(rows) < 2:
        raise InputError(f"{name}: expected at least 2 vectors, found {len(rows)}")
    mean = rows.mean(axis=0, dtype=np.float64)
    outer = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), _BLOCK_ROWS):  # float64 of a few rows at a time
        block = rows[start : start + _BLOCK_ROWS] - mean
        outer += block.T @ block
    cov = outer / (len(rows) - 1)
    mean, cov = check_gaussian(mean, cov, mean_name=f"mean of {name}", cov_name=f"cov of {name}")
    return Stats(mean, cov, len(rows), provenance)


def check_features_array(features: object, name: str) -> Shaped[np.ndarray, "n d"]:
    """Returns the array unchanged if it holds feature vectors.

    Raises:
      InputError: It is not a floating array of shape (vectors, width).
    """
    if not isinstance(features, np.ndarray):
        raise InputError(f"{name}: expected an array of vectors, found {shorten(features)}")
    if features.ndim != 2 or features.dtype.kind != "f" or 0 in features.shape:
        raise InputError(
            f"{name}: expected a floating array of shape (vectors, width), "
            f"found {features.dtype} of shape {features.shape}"
        )
    return features
