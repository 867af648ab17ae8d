"""What falls into which balls, found block by block of pairs: in float32 where that can tell."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float32, Float64, Int, Shaped

from jaxfid.metrics.blocks import Block, Features
from jaxfid.metrics.distances import (
    CentredFeatures,
    Points,
    find_centre,
    inner_products,
    screened_distances,
    screening_error,
    screening_products,
    screening_scale,
    squared_distances,
)

Radii = Mapping[str, Float64[np.ndarray | Array, " _"]]
"""Squared radii per metric: of the generated balls for recall, of the reference balls for others."""

_FEW = 64
"""Images of one block that are looked at again without the others of it."""

_PER_REFERENCE = {"recall", "coverage"}  # the others are per generated image
_JOIN = {
    "precision": np.logical_or,
    "recall": np.logical_or,
    "density": np.add,
    "coverage": np.logical_or,
    "realism": np.maximum,
}
"""How what was found in two blocks of pairs becomes what there is in both."""


def find_cover(
    reference_features: Features,
    generated_features: Features,
    radii: Radii,
    block_size: int,
) -> dict[str, Float64[np.ndarray, " _"]]:
    """Returns what falls where, per metric: per reference image or per generated one."""
    m, n = len(reference_features), len(generated_features)
    per_reference = {name: name in _PER_REFERENCE for name in radii}
    whole = {name: np.zeros(m if per_reference[name] else n) for name in radii}
    with jax.enable_x64(True):
        # One centre for both sets, or their distances would change.
        centre = find_centre(reference_features)
        reference = CentredFeatures(reference_features, centre, block_size)
        generated = CentredFeatures(generated_features, centre, block_size)
        # A ratio has to be exact, where a count only has to be of the right side of a surface.
        cover = _cover_exactly if "realism" in radii else _Screening(reference, generated)
        for a in reference.blocks:
            for b in generated.blocks:
                balls = {name: b.rows if name == "recall" else a.rows for name in radii}
                part_radii = {name: radii[name][balls[name]] for name in radii}
                pair = _BlockPair(reference, generated, a, b)
                for name, part in cover(pair, part_radii).items():
                    place = a.rows if per_reference[name] else b.rows
                    whole[name][place] = _JOIN[name](whole[name][place], np.asarray(part))
    return whole


Found = dict[str, Shaped[np.ndarray, " _"]]


class _BlockPair(NamedTuple):
    """A block of reference images and one of generated images: all pairs of the two."""

    reference: CentredFeatures
    generated: CentredFeatures
    a: Block
    b: Block


def _cover_exactly(pair: _BlockPair, radii: Radii) -> Found:
    """Returns `find_cover` of a block of pairs, from float64 distances."""
    reference, generated, a, b = pair
    products = inner_products(reference.rows(a), generated.rows(b))
    found = _cover_block(products, reference.points(a), generated.points(b), dict(radii))
    return {name: np.asarray(part) for name, part in found.items()}


class _Screening:
    """`_cover_exactly` from float32 products, and from float64 ones where those cannot tell.

    A float32 distance is known to its error bound. What holds at both ends of it holds in between, as every
    count is monotone in every distance. Near a surface it does not, and those few images are looked at again.
    """

    def __init__(self, reference: CentredFeatures, generated: CentredFeatures) -> None:
        self._scale = screening_scale(reference, generated)
        self._error = np.float32(screening_error(reference.width))

    def __call__(self, pair: _BlockPair, radii: Radii) -> Found:
        low, high = self._bound(pair, radii)
        doubtful = {name: np.flatnonzero(low[name] != high[name]) for name in radii}
        for per_reference in (False, True):
            names = [n for n in radii if (n in _PER_REFERENCE) == per_reference]
            wrong = np.unique(np.concatenate([doubtful[n] for n in names] or [[]])).astype(int)
            if len(wrong):
                _look_again(pair, {n: radii[n] for n in names}, wrong, low)
        return low

    def _bound(self, pair: _BlockPair, radii: Radii) -> tuple[Found, Found]:
        """Returns what is found if all distances are as large as they may be, and as small."""
        reference, generated, a, b = pair
        products = screening_products(
            reference.rows_float32(a, self._scale), generated.rows_float32(b, self._scale)
        )
        scaled = {name: r * self._scale**2 for name, r in radii.items()}
        lower, upper = (
            {
                name: np.nextafter(r.astype(np.float32), np.float32(end))
                for name, r in scaled.items()
            }
            for end in (-np.inf, np.inf)
        )
        points = (
            reference.points_float32(a, self._scale),
            generated.points_float32(b, self._scale),
        )
        ends = _screen_block(products, *points, self._error, lower, upper)
        low, high = ({name: np.asarray(x) for name, x in end.items()} for end in ends)
        return low, high


def _look_again(pair: _BlockPair, radii: Radii, wrong: Int[np.ndarray, " k"], found: Found) -> None:
    """Puts what holds exactly of some images, of one side of the block, in place of what was found."""
    if len(wrong) > _FEW:
        found |= _cover_exactly(pair, radii)
        return
    reference, generated, a, b = pair
    # Of one number always, so that it compiles once; images that come twice are found twice.
    some, by_reference = np.resize(wrong, _FEW), bool(set(radii) & _PER_REFERENCE)
    if by_reference:
        of_reference, of_generated = (
            _take(reference, a, some),
            (generated.rows(b), generated.points(b)),
        )
    else:
        of_reference, of_generated = (
            (reference.rows(a), reference.points(a)),
            _take(generated, b, some),
        )
    products = inner_products(of_reference[0], of_generated[0])
    balls = {n: r[some] if by_reference == (n != "recall") else r for n, r in radii.items()}
    for name, part in _cover_block(products, of_reference[1], of_generated[1], balls).items():
        found[name] = found[name].copy()
        found[name][wrong] = np.asarray(part)[: len(wrong)]


def _take(
    side: CentredFeatures, block: Block, some: Int[np.ndarray, " k"]
) -> tuple[Float64[Array | np.ndarray, "k d"], Points]:
    """Returns some rows of a block and what is known of them."""
    rows = side.some_rows(some + block.rows.start)
    return rows, Points(*(np.asarray(part)[some] for part in side.points(block)))


@jax.jit
def _screen_block(
    products: Float32[Array, "m n"],
    reference: Points,
    generated: Points,
    error: Float32[Array, ""],
    lower: dict[str, Float32[Array, " _"]],
    upper: dict[str, Float32[Array, " _"]],
) -> tuple[dict[str, Shaped[Array, " _"]], dict[str, Shaped[Array, " _"]]]:
    """Returns what is found of a block of pairs if all of them are as far apart, or as near, as may be."""
    squared, off = screened_distances(products, reference, generated, error)
    # The bounds hold the tolerance for ties as well, which is far smaller.
    return (
        _find(squared + off, jnp.zeros_like(off), reference, generated, lower),
        _find(squared - off, jnp.zeros_like(off), reference, generated, upper),
    )


@jax.jit
def _cover_block(
    products: Float64[Array, "m n"],
    reference: Points,
    generated: Points,
    radii: dict[str, Float64[Array, " _"]],
) -> dict[str, Shaped[Array, " _"]]:
    """Returns `find_cover` of a block of pairs."""
    squared, rounding = squared_distances(products, reference, generated)
    return _find(squared, rounding, reference, generated, radii)


def _find(
    squared: Float[Array, "m n"],
    rounding: Float[Array, "m n"],
    reference: Points,
    generated: Points,
    radii: Mapping[str, Float[Array, " _"]],
) -> dict[str, Shaped[Array, " _"]]:
    """Returns what falls where. Rows of earlier blocks are left out where they would count twice.

    Counts are summed in float32, exact for so few rows, because float64 takes three times as long.
    """
    found = {}
    # A ball of precision and recall has its surface, one of density and coverage has not. A tie within
    # rounding counts as on the surface, whichever side of it the products put it.
    if "precision" in radii:
        found["precision"] = jnp.any(squared <= radii["precision"][:, None] + rounding, axis=0)
    if "recall" in radii:
        found["recall"] = jnp.any(squared <= radii["recall"] + rounding, axis=1)
    if "density" in radii:
        inside = squared < radii["density"][:, None] - rounding
        counted = inside & reference.mask[:, None] & generated.mask
        found["density"] = jnp.sum(counted, axis=0, dtype=jnp.float32)
    if "coverage" in radii:
        found["coverage"] = jnp.any(squared < radii["coverage"][:, None] - rounding, axis=1)
    if "realism" in radii:
        # A copy is at distance 0: what rounding leaves stands for it, and bounds the ratio.
        ratios = radii["realism"][:, None] / jnp.maximum(squared, rounding)
        found["realism"] = jnp.sqrt(_largest(ratios))
    return found


def _largest(columns: Float64[Array, "m n"]) -> Float64[Array, " n"]:
    """Returns each column's largest, none below 0.

    `jnp.max` would do, but it looks for NaN too, which takes it half its time.
    """
    zero = jnp.zeros((), columns.dtype)
    return lax.reduce(columns, zero, lambda a, b: lax.select(a > b, a, b), (0,))
