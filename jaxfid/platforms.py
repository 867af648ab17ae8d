"""Which of two forms of an operation a platform runs: the one place that decides it.

What is fast on a CPU can be dear on a TPU, whose tiles of 8 x 128 make it copy on every slice with a step.
Bytes that v5e moves for 64 images in bfloat16, as its compiler counts them (`scripts/bench/tpu_compile.py`):

| operation | form of CPUs | of TPUs |
|---|---|---|
| first maximum with stride 2 | 2.60 GB, pairs | 0.38 GB, window |
| first convolution | 1.28 GB, 2 x 2 pixels as one | 0.75 GB, as it is |
| resize of 256 to 299 pixels, scaled | 2.84 GB, bands | 0.50 GB, whole matrices |

The 3 x 3 pools with stride 1 are slices everywhere: 0.11 GB on v5e, and 0.17 as windows.
"""

from collections.abc import Callable

from jax import lax
from jaxtyping import Array, PyTree

PLATFORMS_OF_WIDE_TILES = ("tpu",)


def by_platform(
    *args: PyTree, wide_tiles: Callable[..., Array], otherwise: Callable[..., Array]
) -> Array:
    """Returns what both forms give, by the one that is cheaper where the program runs.

    Only that one is compiled. GPUs run the form of CPUs: none was measured.

    Args:
      *args: What the forms are called with.
      wide_tiles: The form for TPUs.
      otherwise: The form for CPUs and all else.
    """
    return lax.platform_dependent(
        *args, default=otherwise, **dict.fromkeys(PLATFORMS_OF_WIDE_TILES, wide_tiles)
    )
