"""Inception-v3 as TensorFlow froze it on 2015-12-05, BatchNorm folded, features by name.

Layers, names, and the places where this network differs from the published Inception-v3 are those of the
checkpoint that pytorch-fid converted from TensorFlow's graph (https://github.com/mseitzer/pytorch-fid).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxfid.extractors.precision import Precision
from jaxfid.platforms import by_platform

FEATURE_WIDTHS = {
    "64": 64,
    "192": 192,
    "spatial": 17 * 17 * 7,
    "768": 768,
    "2048": 2048,
    "logits": 1008,
    "logits_unbiased": 1008,
}
"""Width of each feature vector, in the order in which the network reaches them.

64, 192, 768 and 2048 (pool3) are averages over space after the first and second max pool, Mixed_6e and
Mixed_7c. `spatial` is sFID's: the first 7 channels of Mixed_6d.branch1x1, 17 x 17 x 7 flattened in NHWC
order. `logits_unbiased` leave out the last layer's bias, as the Inception Score does.
"""


Pool = Callable[[Float[Array, "n h w c"]], Float[Array, "n h w c"]]
"""A 3 x 3 pool with stride 1. An average commutes with a 1 x 1 product, and is cheaper after it."""


class Conv(nn.Module):
    """Convolution with its BatchNorm folded in, a pool of the sums where there is one, then ReLU."""

    features: int
    size: tuple[int, int]
    precision: Precision
    stride: int = 1
    padding: str = "SAME"
    pool: Pool | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        zeros = nn.initializers.zeros
        kernel = self.param("kernel", zeros, (*self.size, x.shape[-1], self.features))
        bias = self.param("bias", zeros, (self.features,))
        y = self._product(x, kernel.astype(x.dtype))
        y = y if self.pool is None else self.pool(y)
        return nn.relu(y + bias.astype(x.dtype))

    def _product(self, x: Array, kernel: Array) -> Array:
        precision, stride = lax.Precision[self.precision.products], self.stride
        if self.size == (1, 1):  # on a CPU a plain product is faster than a 1 x 1 convolution
            return jnp.einsum("nhwc,cf->nhwf", x, kernel[0, 0], precision=precision)
        convolve = functools.partial(_convolve, padding=self.padding, precision=precision)
        if stride == 2 and x.shape[-1] == 3:
            # Twice as fast on a CPU, where the products of three channels are too small.
            return by_platform(
                *(x, kernel),
                wide_tiles=functools.partial(convolve, stride=2),
                otherwise=lambda x, kernel: convolve(
                    _pixels_to_channels(x), _taps_to_channels(kernel), stride=1
                ),
            )
        return convolve(x, kernel, stride=stride)


def _convolve(
    x: Array, kernel: Array, *, stride: int, padding: str, precision: lax.Precision
) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def _pixels_to_channels(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 4*c"]:
    """Returns each 2 x 2 pixels as one; zeros stand beside the last row and column of an odd side."""
    n, h, w, c = x.shape
    x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    x = x.reshape(n, (h + 1) // 2, 2, (w + 1) // 2, 2, c)
    return x.swapaxes(2, 3).reshape(n, (h + 1) // 2, (w + 1) // 2, 4 * c)


def _taps_to_channels(kernel: Float[Array, "3 3 c f"]) -> Float[Array, "2 2 4*c f"]:
    """Returns the kernel for stride 1 on `_pixels_to_channels` that equals this one with stride 2."""
    return _pixels_to_channels(kernel.transpose(3, 0, 1, 2)).transpose(1, 2, 3, 0)


def max_pool_halved(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """Returns the 3 x 3 maximum with stride 2, without padding, of sides that are odd."""
    return by_platform(x, wide_tiles=_max_of_windows, otherwise=_max_of_pairs)


def _max_of_windows(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    return nn.max_pool(x, (3, 3), (2, 2))


def _max_of_pairs(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """Takes the maximum of each pair, then of that and the first of the next pair.

    On a CPU this is faster than slices with a step.
    """
    for axis in (1, 2):
        last = x.shape[axis] - 1
        pairs = lax.slice_in_dim(x, 0, last, axis=axis)
        pairs = pairs.reshape(*x.shape[:axis], last // 2, 2, *x.shape[axis + 1 :])
        following = lax.slice_in_dim(x, 2, last + 1, 2, axis)
        x = jnp.maximum(pairs.max(axis + 1), following)
    return x


def _pool(x: Array, combine: Callable[..., Array], fill: float) -> Array:
    """A 3 x 3 pool as shifted slices along each axis; on a CPU several times faster than reduce_window."""
    for axis in (1, 2):
        side = x.shape[axis]
        x = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)], constant_values=fill)
        x = functools.reduce(combine, [lax.slice_in_dim(x, k, k + side, 1, axis) for k in range(3)])
    return x


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Returns the 3 x 3 maximum with stride 1."""
    return _pool(x, jnp.maximum, -jnp.inf)


def average_pool_with_padding(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Returns the 3 x 3 average with stride 1 in which the padding counts as zeros."""
    return _pool(x, jnp.add, 0.0) / 9


def average_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Returns the 3 x 3 average with stride 1 in which the padding does not count."""
    ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    return _pool(x, jnp.add, 0.0) / _pool(ones, jnp.add, 0.0)


class BlockA(nn.Module):
    """Mixed_5b to 5d, 35 x 35."""

    pool_features: int
    pool: Pool
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w f"]:
        conv = functools.partial(Conv, precision=self.precision)
        a = conv(64, (1, 1), name="branch1x1")(x)
        b = conv(48, (1, 1), name="branch5x5_1")(x)
        b = conv(64, (5, 5), name="branch5x5_2")(b)
        c = conv(64, (1, 1), name="branch3x3dbl_1")(x)
        c = conv(96, (3, 3), name="branch3x3dbl_2")(c)
        c = conv(96, (3, 3), name="branch3x3dbl_3")(c)
        d = conv(self.pool_features, (1, 1), pool=self.pool, name="branch_pool")(x)
        return jnp.concatenate([a, b, c, d], axis=-1)


class BlockB(nn.Module):
    """Mixed_6a, 35 x 35 to 17 x 17."""

    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        conv = functools.partial(Conv, precision=self.precision)
        a = conv(384, (3, 3), stride=2, padding="VALID", name="branch3x3")(x)
        b = conv(64, (1, 1), name="branch3x3dbl_1")(x)
        b = conv(96, (3, 3), name="branch3x3dbl_2")(b)
        b = conv(96, (3, 3), stride=2, padding="VALID", name="branch3x3dbl_3")(b)
        return jnp.concatenate([a, b, max_pool_halved(x)], axis=-1)


class BlockC(nn.Module):
    """Mixed_6b to 6e, 17 x 17."""

    width: int
    pool: Pool
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w f"]:
        conv = functools.partial(Conv, precision=self.precision)
        a = conv(192, (1, 1), name="branch1x1")(x)
        b = conv(self.width, (1, 1), name="branch7x7_1")(x)
        b = conv(self.width, (1, 7), name="branch7x7_2")(b)
        b = conv(192, (7, 1), name="branch7x7_3")(b)
        c = conv(self.width, (1, 1), name="branch7x7dbl_1")(x)
        c = conv(self.width, (7, 1), name="branch7x7dbl_2")(c)
        c = conv(self.width, (1, 7), name="branch7x7dbl_3")(c)
        c = conv(self.width, (7, 1), name="branch7x7dbl_4")(c)
        c = conv(192, (1, 7), name="branch7x7dbl_5")(c)
        d = conv(192, (1, 1), pool=self.pool, name="branch_pool")(x)
        return jnp.concatenate([a, b, c, d], axis=-1)


class BlockD(nn.Module):
    """Mixed_7a, 17 x 17 to 8 x 8."""

    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 f"]:
        conv = functools.partial(Conv, precision=self.precision)
        a = conv(192, (1, 1), name="branch3x3_1")(x)
        a = conv(320, (3, 3), stride=2, padding="VALID", name="branch3x3_2")(a)
        b = conv(192, (1, 1), name="branch7x7x3_1")(x)
        b = conv(192, (1, 7), name="branch7x7x3_2")(b)
        b = conv(192, (7, 1), name="branch7x7x3_3")(b)
        b = conv(192, (3, 3), stride=2, padding="VALID", name="branch7x7x3_4")(b)
        return jnp.concatenate([a, b, max_pool_halved(x)], axis=-1)


class BlockE(nn.Module):
    """Mixed_7b and 7c, 8 x 8."""

    pool: Pool
    precision: Precision

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w f"]:
        conv = functools.partial(Conv, precision=self.precision)
        a = conv(320, (1, 1), name="branch1x1")(x)
        b = conv(384, (1, 1), name="branch3x3_1")(x)
        b1 = conv(384, (1, 3), name="branch3x3_2a")(b)
        b2 = conv(384, (3, 1), name="branch3x3_2b")(b)
        c = conv(448, (1, 1), name="branch3x3dbl_1")(x)
        c = conv(384, (3, 3), name="branch3x3dbl_2")(c)
        c1 = conv(384, (1, 3), name="branch3x3dbl_3a")(c)
        c2 = conv(384, (3, 1), name="branch3x3dbl_3b")(c)
        d = conv(192, (1, 1), name="branch_pool")(self.pool(x))
        return jnp.concatenate([a, b1, b2, c1, c2, d], axis=-1)


class Inception(nn.Module):
    """The network from normalised 299-pixel images to named features.

    Attributes:
      features: Names out of `FEATURE_WIDTHS`; layers beyond the last of them are not run.
      precision: How products are taken; features come back in float32 whatever it is.
      pool: The average pool of all blocks but the last. Other Inceptions differ in this and the next.
      last_pool: The pool of Mixed_7c. The frozen graph has a maximum here; every published FID depends on it.
    """

    features: Sequence[str]
    precision: Precision
    pool: Pool = average_pool
    last_pool: Pool = max_pool

    @nn.compact
    def __call__(self, x: Float[Array, "n 299 299 3"]) -> dict[str, Float[Array, "n d"]]:
        found: dict[str, Array] = {}
        for name, features in self._reached(x.astype(self.precision.dtype)):
            found[name] = features
            if all(wanted in found for wanted in self.features):
                break
        return {wanted: found[wanted] for wanted in self.features}

    def _reached(self, x: Array):  # noqa: ANN202
        """Yields each feature's name and value as the network reaches it."""
        p, pool = self.precision, self.pool
        x = Conv(32, (3, 3), p, 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = Conv(32, (3, 3), p, 1, "VALID", name="Conv2d_2a_3x3")(x)
        x = Conv(64, (3, 3), p, name="Conv2d_2b_3x3")(x)
        x = max_pool_halved(x)
        yield "64", _space_average(x)
        x = Conv(80, (1, 1), p, name="Conv2d_3b_1x1")(x)
        x = Conv(192, (3, 3), p, 1, "VALID", name="Conv2d_4a_3x3")(x)
        x = max_pool_halved(x)
        yield "192", _space_average(x)
        x = BlockA(32, pool, p, name="Mixed_5b")(x)
        x = BlockA(64, pool, p, name="Mixed_5c")(x)
        x = BlockA(64, pool, p, name="Mixed_5d")(x)
        x = BlockB(p, name="Mixed_6a")(x)
        x = BlockC(128, pool, p, name="Mixed_6b")(x)
        x = BlockC(160, pool, p, name="Mixed_6c")(x)
        x = BlockC(160, pool, p, name="Mixed_6d")(x)
        yield "spatial", x[..., :7].reshape(len(x), -1).astype(jnp.float32)  # branch1x1 comes first
        x = BlockC(192, pool, p, name="Mixed_6e")(x)
        yield "768", _space_average(x)
        x = BlockD(p, name="Mixed_7a")(x)
        x = BlockE(pool, p, name="Mixed_7b")(x)
        x = BlockE(self.last_pool, p, name="Mixed_7c")(x)
        pool3 = _space_average(x)
        yield "2048", pool3
        unbiased, biased = _Logits(name="fc")(pool3)
        yield "logits", biased
        yield "logits_unbiased", unbiased


class _Logits(nn.Module):
    """The last layer, without and with its bias; always in float32, which costs nothing here."""

    @nn.compact
    def __call__(self, x: Float[Array, "n 2048"]) -> tuple[Array, Array]:
        zeros = nn.initializers.zeros
        kernel = self.param("kernel", zeros, (x.shape[-1], FEATURE_WIDTHS["logits"]))
        bias = self.param("bias", zeros, (FEATURE_WIDTHS["logits"],))
        unbiased = jnp.matmul(x, kernel, precision=lax.Precision.HIGHEST)
        return unbiased, unbiased + bias


def _space_average(x: Float[Array, "n h w c"]) -> Float[Array, "n c"]:
    return x.astype(jnp.float32).mean((1, 2))


def extract_features(
    params: Mapping[str, Any],
    images: Float[Array, "n 299 299 3"],
    *,
    features: Sequence[str],
    precision: Precision,
) -> dict[str, Float[Array, "n d"]]:
    """Returns the named features of normalised images, each float32 `(n, width)`.

    Args:
      params: The network's parameters, folded, keyed by the checkpoint's names.
      images: About -1..1, as a protocol's resize and scaling leave them.
      features: Names out of `FEATURE_WIDTHS`.
      precision: How products are taken.
    """
    found: Any = Inception(tuple(features), precision).apply({"params": params}, images)
    return found  # Flax's apply may return state as well, and is typed so
