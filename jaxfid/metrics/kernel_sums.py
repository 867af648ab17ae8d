"""Sums of a kernel over all pairs of images, by blocks: what a squared MMD is made of."""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64

from jaxfid.metrics.blocks import Block, Features, make_blocks

Members = Bool[np.ndarray, "_ subsets"]
"""Which images are in which subset; column 0 is the whole set."""

Kernel = Callable[[Array, Array], Array]
"""From rows `(n, d)` and `(m, d)` to float64 values of every pair, `(n, m)`; traced under x64."""


class Images(NamedTuple):
    """A set's features, and its subsets."""

    features: Features
    members: Members


class PairSums(NamedTuple):
    """Kernel values summed: over each subset's pairs, and over each image's pairs in the whole.

    Within one set an image makes no pair with itself, pairs are ordered, and columns equal rows.
    """

    total: Float64[np.ndarray, " subsets"]
    rows: Float64[np.ndarray, " n"]
    columns: Float64[np.ndarray, " m"]


def whole_set(features: Features) -> Images:
    """Returns a set whose one subset is all of it."""
    return Images(features, np.ones((len(features), 1), bool))


def sum_own_pairs(kernel: Kernel, images: Images, block_size: int) -> PairSums:
    """Returns the sums over pairs within one set. Each kernel value is computed once."""
    total, rows = np.zeros(images.members.shape[1]), np.zeros(len(images.members))
    blocks = make_blocks(len(rows), block_size)
    for a, b in itertools.combinations_with_replacement(blocks, 2):
        sums = _sum_block(kernel, images, images, a, b, without_diagonal=a is b)
        total += sums.total
        rows[a.rows] += sums.rows
        if a is not b:  # the block on the other side of the diagonal is this one transposed
            total += sums.total
            rows[b.rows] += sums.columns
    return PairSums(total, rows, rows)


def sum_cross_pairs(
    kernel: Kernel, reference: Images, generated: Images, block_size: int
) -> PairSums:
    """Returns the sums over pairs of a reference and a generated image."""
    total = np.zeros(reference.members.shape[1])
    rows, columns = np.zeros(len(reference.members)), np.zeros(len(generated.members))
    for a, b in itertools.product(
        make_blocks(len(rows), block_size), make_blocks(len(columns), block_size)
    ):
        sums = _sum_block(kernel, reference, generated, a, b, without_diagonal=False)
        total += sums.total
        rows[a.rows] += sums.rows
        columns[b.rows] += sums.columns
    return PairSums(total, rows, columns)


def jackknife_variance(
    own: PairSums,
    cross_sums: Float64[np.ndarray, " n"],
    *,
    num_other: int,
    own_pairs_left: int,
) -> float:
    """Returns the variance of a squared MMD from the sampling of one set, of n images.

    The sums over each image's pairs give the estimate without that image exactly.

    Args:
      own: Sums within the set.
      cross_sums: Per image of the set, the sum over its pairs with the other set.
      num_other: Images of the other set.
      own_pairs_left: By how many pairs the estimator divides the sum within a set of n - 1 images.

    Source: Arvesen, Jackknifing U-statistics, 1969.
    """
    n = len(cross_sums)
    left_out = (own.total[0] - 2 * own.rows) / own_pairs_left
    # The other set's own sum has no part in the image: it shifts all values alike.
    left_out -= 2 * (cross_sums.sum() - cross_sums) / (num_other * (n - 1))
    return float((n - 1) * left_out.var())


def multiply_float32(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Float64[Array, "n m"]:
    """Returns `a @ b.T` from products in float32, or in float64 where the features are float64.

    Float64 products take twice the time on a CPU and up to 64 times on a GPU. Precision is named
    because accelerators would round the factors to bfloat16 or TensorFloat-32.
    """
    dtype = jnp.promote_types(jnp.result_type(a, b), jnp.float32)
    products = jnp.matmul(a.astype(dtype), b.astype(dtype).T, precision=jax.lax.Precision.HIGHEST)
    return products.astype(jnp.float64)


def _sum_block(
    kernel: Kernel, x: Images, y: Images, a: Block, b: Block, *, without_diagonal: bool
) -> PairSums:
    """Returns the sums over a block of pairs, on the host; rows of earlier blocks add nothing."""
    sums = _sum_values(
        a.of(x.features),
        b.of(y.features),
        x.members[a.rows] & a.mask[:, None],
        y.members[b.rows] & b.mask[:, None],
        kernel=kernel,
        without_diagonal=without_diagonal,
    )
    # To the host: sums of many blocks are added there, where float64 is a matter of course.
    total, rows, columns = (np.asarray(s) for s in sums)
    return PairSums(total, rows * a.mask, columns * b.mask)


@functools.partial(jax.jit, static_argnames=("kernel", "without_diagonal"))
def _sum_values(
    a: Float[Array, "n d"],
    b: Float[Array, "m d"],
    a_members: Bool[Array, "n subsets"],
    b_members: Bool[Array, "m subsets"],
    *,
    kernel: Kernel,
    without_diagonal: bool,
) -> tuple[Float64[Array, " subsets"], Float64[Array, " n"], Float64[Array, " m"]]:
    values = kernel(a, b)
    if without_diagonal:
        values = jnp.where(jnp.eye(len(a), dtype=bool), 0, values)
    a_members, b_members = (x.astype(jnp.float64) for x in (a_members, b_members))
    # The sum over a subset's pairs is a quadratic form in its membership: one pass gives them all.
    rows = values @ b_members
    return jnp.sum(a_members * rows, axis=0), rows[:, 0], a_members[:, 0] @ values
