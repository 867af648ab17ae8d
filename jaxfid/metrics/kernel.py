"""Kernel distance of two sets of features: KID, when they are Inception's pool3."""

import dataclasses
import functools
import itertools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import (
    BLOCK_SIZE,
    Block,
    Features,
    check_features,
    make_blocks,
)
from jaxfid.metrics.pair import SetPair
from jaxfid.metrics.registry import DEFAULT, MetricOption, MetricSpec
from jaxfid.result import MetricValue

Members = Bool[np.ndarray, "n subsets"]
"""Which images are in which subset; column 0 is the whole set."""
Counts = Int[np.ndarray, " subsets"]


@dataclasses.dataclass(frozen=True)
class KernelDistance:
    """Unbiased squared MMD of two sets; it may come out negative where they are alike.

    Attributes:
      value: Estimate from all pairs of images.
      stderr: Its standard error from the sampling of the generated images, the reference held
        fixed.
      stderr_both: Its standard error from the sampling of both sets.
      subset_mean: Mean over random subsets, as torch-fidelity prints it; None where a set is
        smaller than a subset.
      subset_std: Their standard deviation with ddof 0, as printed there: how far one subset is off,
        not the mean of them all.
      num_subsets: How many subsets.
      subset_size: Images of either set in each.
    """

    value: float
    stderr: float
    stderr_both: float
    subset_mean: float | None
    subset_std: float | None
    num_subsets: int
    subset_size: int


def kernel_distance(
    reference_features: Features,
    generated_features: Features,
    *,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 2020,
    first_drawn: Literal["reference", "generated"] = "reference",
    block_size: int = BLOCK_SIZE,
) -> KernelDistance:
    """Returns the squared MMD with the kernel `(x.y / d + 1)^3` of KID (Binkowski et al. 2018).

    `value` is the U-statistic over all pairs (Gretton et al. 2012, eq. 3), unbiased and of least
    variance. Its standard errors are jackknifes that leave one image out (Arvesen 1969), which the
    sums over each image's pairs give exactly. A jackknife variance is never too small on average
    (Efron and Stein 1981); where the two distributions coincide it is up to twice too large.

    The subsets are torch-fidelity's: `RandomState(seed).choice` without replacement, in turn from
    its `input1` and its `input2`. It computes in float32, which puts 1e-7 of noise on each subset.

    Every kernel value is computed once: the sum over a subset's pairs is a quadratic form in its
    membership, so one pass over blocks of the kernel matrix gives all subsets and the whole. Extra
    memory is a few blocks, and `num_subsets` bytes per image.

    Args:
      reference_features: Features of the reference images.
      generated_features: Features of the generated images, of the same width.
      num_subsets: How many random subsets.
      subset_size: How many images of either set a subset has.
      seed: Seeds the drawing of the subsets.
      first_drawn: Which set was torch-fidelity's `input1`; moves `subset_mean` by its own noise.
      block_size: Rows per block: time and memory, not the result.

    Raises:
      InputError: The features are no finite floating matrices of one width with 3 rows or more, or
        `num_subsets`, `subset_size` or `first_drawn` is out of range.
    """
    check_features(3, reference_features=reference_features, generated_features=generated_features)
    _check_options(num_subsets, subset_size, first_drawn)
    m, n = len(reference_features), len(generated_features)
    drawn = num_subsets if subset_size <= min(m, n) else 0
    members = _draw_subsets(m, n, drawn, subset_size, seed, first_drawn)
    reference = _Images(reference_features, members[0])
    generated = _Images(generated_features, members[1])
    with jax.enable_x64(True):
        within_reference = _own_sums(reference, block_size)
        within_generated = _own_sums(generated, block_size)
        cross = _cross_sums(reference, generated, block_size)
    sizes = (x.sum(axis=0) for x in members)
    estimates = _unbiased_mmd2(within_reference, within_generated, cross, *sizes)
    variance = _jackknife_variance(within_generated, cross.total[0], cross.columns, m)
    variance_reference = _jackknife_variance(within_reference, cross.total[0], cross.rows, n)
    return KernelDistance(
        value=float(estimates[0]),
        stderr=float(np.sqrt(variance)),
        stderr_both=float(np.sqrt(variance + variance_reference)),
        subset_mean=float(estimates[1:].mean()) if drawn else None,
        subset_std=float(estimates[1:].std()) if drawn else None,
        num_subsets=drawn,
        subset_size=subset_size,
    )


def _check_options(num_subsets: int, subset_size: int, first_drawn: str) -> None:
    if num_subsets < 1 or subset_size < 2:
        raise InputError(
            "num_subsets, subset_size: expected one subset or more, of two images or more, "
            f"found {num_subsets} of {subset_size}"
        )
    if first_drawn not in ("reference", "generated"):
        raise InputError(f"first_drawn: expected reference or generated, found {first_drawn!r}")


def _draw_subsets(
    m: int, n: int, num_subsets: int, subset_size: int, seed: int, first_drawn: str
) -> tuple[Members, Members]:
    """Returns the members of each subset among the m reference and the n generated images."""
    reference, generated = (np.zeros((count, 1 + num_subsets), bool) for count in (m, n))
    in_turn = (reference, generated) if first_drawn == "reference" else (generated, reference)
    rng = np.random.RandomState(seed)
    for subset, members in itertools.product(range(1, 1 + num_subsets), in_turn):
        members[rng.choice(len(members), subset_size, replace=False), subset] = True
    reference[:, 0] = generated[:, 0] = True
    return reference, generated


class _Images(NamedTuple):
    features: Features
    members: Members


class _PairSums(NamedTuple):
    """Kernel values summed: over each subset's pairs, and over each image's pairs in the whole.

    Within one set an image makes no pair with itself, pairs are ordered, and columns equal rows.
    """

    total: Float64[np.ndarray, " subsets"]
    rows: Float64[np.ndarray, " n"]
    columns: Float64[np.ndarray, " m"]


def _own_sums(images: _Images, block_size: int) -> _PairSums:
    total, rows = np.zeros(images.members.shape[1]), np.zeros(len(images.members))
    blocks = make_blocks(len(rows), block_size)
    for a, b in itertools.combinations_with_replacement(blocks, 2):
        sums = _block_sums(images, images, a, b, without_diagonal=a is b)
        total += sums.total
        rows[a.rows] += sums.rows
        if a is not b:  # the block on the other side of the diagonal is this one transposed
            total += sums.total
            rows[b.rows] += sums.columns
    return _PairSums(total, rows, rows)


def _cross_sums(reference: _Images, generated: _Images, block_size: int) -> _PairSums:
    total = np.zeros(reference.members.shape[1])
    rows, columns = np.zeros(len(reference.members)), np.zeros(len(generated.members))
    for a, b in itertools.product(
        make_blocks(len(rows), block_size), make_blocks(len(columns), block_size)
    ):
        sums = _block_sums(reference, generated, a, b, without_diagonal=False)
        total += sums.total
        rows[a.rows] += sums.rows
        columns[b.rows] += sums.columns
    return _PairSums(total, rows, columns)


def _block_sums(x: _Images, y: _Images, a: Block, b: Block, *, without_diagonal: bool) -> _PairSums:
    """Returns the sums over a block of pairs, on the host; rows of earlier blocks add nothing."""
    sums = _kernel_sums(
        a.of(x.features),
        b.of(y.features),
        x.members[a.rows] & a.mask[:, None],
        y.members[b.rows] & b.mask[:, None],
        without_diagonal=without_diagonal,
    )
    total, rows, columns = (np.asarray(s) for s in sums)
    return _PairSums(total, rows * a.mask, columns * b.mask)


@functools.partial(jax.jit, static_argnames="without_diagonal")
def _kernel_sums(
    a: Float[Array, "n d"],
    b: Float[Array, "m d"],
    a_members: Bool[Array, "n subsets"],
    b_members: Bool[Array, "m subsets"],
    *,
    without_diagonal: bool,
) -> tuple[Float64[Array, " subsets"], Float64[Array, " n"], Float64[Array, " m"]]:
    kernel = _kernel_values(a, b)
    if without_diagonal:
        kernel = jnp.where(jnp.eye(len(a), dtype=bool), 0, kernel)
    a_members, b_members = (x.astype(jnp.float64) for x in (a_members, b_members))
    rows = kernel @ b_members
    return jnp.sum(a_members * rows, axis=0), rows[:, 0], a_members[:, 0] @ kernel


def _kernel_values(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float64[Array, "n m"]:
    """Returns the kernel of every pair; products in float32 unless the features are float64.

    Their rounding, 1e-7 of a kernel value and of either sign, leaves 1e-10 in a mean over all pairs,
    where the sampling of 50,000 images leaves 1e-6. Float64 products take twice the time on a CPU
    and up to 64 times on a GPU.
    """
    dtype = jnp.promote_types(jnp.result_type(a, b), jnp.float32)
    products = jnp.matmul(a.astype(dtype), b.astype(dtype).T, precision=jax.lax.Precision.HIGHEST)
    return (products.astype(jnp.float64) / a.shape[1] + 1) ** 3


def _unbiased_mmd2(
    reference: _PairSums, generated: _PairSums, cross: _PairSums, m: Counts, n: Counts
) -> Float64[np.ndarray, " subsets"]:
    """Returns the estimate of each subset that has m reference and n generated images."""
    return (
        reference.total / (m * (m - 1))
        + generated.total / (n * (n - 1))
        - 2 * cross.total / (m * n)
    )


def _jackknife_variance(
    own: _PairSums, cross_total: float, cross_sums: Float64[np.ndarray, " n"], num_other: int
) -> float:
    """Returns the variance of the estimate from the sampling of one set, of n images."""
    n = len(cross_sums)
    left_out = (own.total[0] - 2 * own.rows) / ((n - 1) * (n - 2))
    left_out -= 2 * (cross_total - cross_sums) / (num_other * (n - 1))
    return float((n - 1) * left_out.var())


def _compute(pair: SetPair) -> MetricValue:
    found = kernel_distance(*pair.vectors, subset_size=pair.options["kid_subset_size"])
    details = {"subset_mean": found.subset_mean, "num_subsets": found.num_subsets}
    details |= {"subset_size": found.subset_size, "stderr_both": found.stderr_both}
    return MetricValue(found.value, stderr=found.stderr, std=found.subset_std, details=details)


SPECS = (
    MetricSpec(
        "kd",
        _compute,
        features=(DEFAULT,),
        heading="KID",
        inception_name="kid",
        options=(
            MetricOption(
                "kid_subset_size",
                1000,
                "images in each of the 100 subsets of the kernel distance",
                least=2,
            ),
        ),
    ),
)
