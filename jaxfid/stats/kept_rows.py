"""Which images' features are kept for error bars: up to 5,000, whatever the size of the set."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float32, Int64, Real, UInt32

from jaxfid.stats.array_tree import array_tree

MAX_KEPT_ROWS = 5000
"""An error bar from 5,000 rows is itself off by 1 to 2 %; at 2048 features they take 40 MB."""


def kept_indices(count: int, *, limit: int = MAX_KEPT_ROWS) -> Int64[np.ndarray, " k"]:
    """Returns the indices of the images of a set whose features are kept, in rising order.

    The set is cut into `limit` equal stretches, and of each one image is kept, at a place that is drawn
    once and for all. So neither the order of classes nor a class that comes back every so many images
    can mislead, and the same images are kept for any devices, processes and batch size.

    Args:
      count: Images in the set.
      limit: The most images to keep; a smaller set is kept whole.
    """
    if count <= limit:
        return np.arange(count)
    # RandomState's stream is frozen, so that later versions of NumPy keep the same images.
    place = np.random.RandomState(0).random_sample(limit)
    edges = np.arange(limit + 1) * count // limit
    return edges[:-1] + np.floor(place * np.diff(edges)).astype(np.int64)


_NO_ROW = np.uint32(0xFFFFFFFF)
"""Both halves of the key of an empty place, larger than any row's, so that empty places sort last."""


@array_tree
@dataclasses.dataclass(frozen=True)
class KeptRows:
    """A random sample of the rows seen so far, of fixed size; `a + b` is the sample of both sets.

    Each row gets a key, a hash of its own bits, and the rows of the smallest keys are kept. The key looks
    like a random number, so the sample is a random one. It depends on the rows alone: no image needs an
    index, and parts merge to the same sample in any order. But features that were rounded otherwise (on
    other devices, in another batch size) give another sample, which is as good.

    It works in `jit`, `scan`, `shard_map` and `pmap`, with x64 or without. Rows and keys may carry leading
    axes (devices), which `total_over` merges. `psum` cannot merge samples: use `jax.lax.all_gather` and
    then `total_over`.

    Attributes:
      rows: The kept rows in the order of their keys, then zeros.
      keys: Their keys, the more significant half first; all bits are set where there is no row.
      places: Which row of those seen each was, so that they can be laid in the order in which they came.
        Rows of parts that were merged carry the place that they had in their own part.
    """

    rows: Float32[Array | np.ndarray, "*lead k d"]
    keys: UInt32[Array | np.ndarray, "*lead k 2"]
    places: UInt32[Array | np.ndarray, "*lead k"]

    @classmethod
    def empty(cls, width: int, *, limit: int = MAX_KEPT_ROWS) -> "KeptRows":
        """Returns the sample of no rows, with room for `limit` of them."""
        return cls(
            jnp.zeros((limit, width), jnp.float32),
            jnp.full((limit, 2), _NO_ROW),
            jnp.zeros(limit, jnp.uint32),
        )

    def update(
        self,
        features: Float[Array | np.ndarray, "n d"],
        mask: Bool[Array | np.ndarray, " n"],
        *,
        first: Real[Array | np.ndarray, ""] | int = 0,
    ) -> "KeptRows":
        """Returns the sample with further rows.

        Args:
          features: The rows; they are kept in float32.
          mask: False where a row is padding, which is never kept. Nor is a row that is not finite.
          first: How many rows were seen before.
        """
        rows = jnp.asarray(features, jnp.float32)
        return _keep_smallest(self, _make_sample(rows, mask, first), limit=self.limit)

    def __add__(self, other: "KeptRows") -> "KeptRows":
        return _keep_smallest(self, other, limit=self.limit)

    def total_over(self, axis: int = 0) -> "KeptRows":
        """Returns the sample of all rows, with one leading axis merged."""
        return _keep_smallest(
            jax.tree.map(lambda leaf: _join(leaf, axis, self), self), limit=self.limit
        )

    @property
    def limit(self) -> int:
        """The most rows that it holds."""
        return self.keys.shape[-2]

    def kept(self) -> tuple[Float32[np.ndarray, "n d"], Int64[np.ndarray, " n"]]:
        """Returns the rows that are there and their places, in the order of these, on the host.

        Leading axes are to be merged before. Of one place in several parts, the smaller key comes first: the
        order is that of no device or process.
        """
        rows, keys, places = map(np.asarray, (self.rows, self.keys, self.places))
        order = np.lexsort((keys[:, 1], keys[:, 0], places))
        order = order[keys[order, 0] != _NO_ROW]
        return rows[order], places[order].astype(np.int64)


def _join(leaf: Array | np.ndarray, axis: int, sample: KeptRows) -> Array:
    """Returns the array with a leading axis laid into the axis of rows."""
    own = sample.places.ndim - 1  # the axis of rows, in every leaf
    leaf = jnp.moveaxis(leaf, axis, own - 1)
    return leaf.reshape(*leaf.shape[: own - 1], -1, *leaf.shape[own + 1 :])


# Jitted for those who call from outside of `jit`, where each operation would compile by itself.
@functools.partial(jax.jit, static_argnames="limit")
def _keep_smallest(*samples: KeptRows, limit: int) -> KeptRows:
    """Returns the `limit` rows of the smallest keys.

    The first `limit` rows are a sample already, whose empty places hold zeros. As the sort is stable,
    an empty place that is left over is one of those, and never the padding of a batch.
    """
    own = samples[0].places.ndim - 1
    rows, keys, places = (
        jnp.concatenate([jnp.asarray(getattr(sample, name)) for sample in samples], axis=own)
        for name in ("rows", "keys", "places")
    )
    order = lax.broadcasted_iota(np.int32, places.shape, own)
    *_, order = lax.sort((keys[..., 0], keys[..., 1], order), num_keys=2)
    order = order[..., :limit]
    wide = order[..., None]
    return KeptRows(
        jnp.take_along_axis(rows, wide, axis=own),
        jnp.take_along_axis(keys, wide, axis=own),
        jnp.take_along_axis(places, order, axis=own),
    )


@jax.jit
def _make_sample(
    rows: Float32[Array, "n d"],
    mask: Bool[Array | np.ndarray, " n"],
    first: Real[Array | np.ndarray, ""] | int,
) -> KeptRows:
    """Returns the rows as a sample of as many."""
    # Padding takes no place: the rows of a padded batch are counted as those of one without.
    places = (
        jnp.cumsum(mask, dtype=jnp.uint32) - np.uint32(1) + jnp.asarray(first).astype(jnp.uint32)
    )
    return KeptRows(rows, _make_keys(rows, mask), places)


@jax.jit
def _make_keys(
    rows: Float32[Array, "n d"], mask: Bool[Array | np.ndarray, " n"]
) -> UInt32[Array, "n 2"]:
    bits = lax.bitcast_convert_type(rows, jnp.uint32)
    # Of 64 bits no two different rows share a key in practice: with 32, a tie of two rows at the edge
    # of the sample would be decided by their order once in 100,000 sets of 50,000 images.
    high, low = _hash(bits, np.uint32(1)), _hash(bits, np.uint32(0x9E3779B9))
    keys = jnp.stack([jnp.minimum(high, _NO_ROW - np.uint32(1)), low], axis=-1)
    there = jnp.asarray(mask) & jnp.all(jnp.isfinite(rows), axis=-1)
    return jnp.where(there[:, None], keys, _NO_ROW)


def _hash(bits: UInt32[Array, "n d"], seed: np.uint32) -> UInt32[Array, " n"]:
    """Returns a hash of each row in which a value counts with its place."""
    salt = _mix(jnp.arange(bits.shape[1], dtype=jnp.uint32) + seed)
    # Without a type, a sum of 32 bits becomes one of 64 where x64 is enabled.
    return _mix(jnp.sum(_mix(bits ^ salt[None]), axis=-1, dtype=jnp.uint32))


def _mix(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Returns the finaliser of MurmurHash3: each bit of the input turns half of those of the output.

    Source: Appleby, MurmurHash3, 2011 (public domain).
    """
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))
