"""The tensors of the 2015-12-05 Inception-v3: which a file must hold, and how they become parameters.

Names are those of the checkpoint that pytorch-fid converted from TensorFlow's graph
(https://github.com/mseitzer/pytorch-fid). The table below gives 94 convolutions, each followed by
its BatchNorm, and with the last layer 566 tensors.
"""

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import Float

from jaxfid.errors import InputError

Params = dict[str, dict]
"""Nested dict of float32 arrays: `{"Mixed_5b": {"branch1x1": {"kernel": HWIO, "bias": O}}}`."""

BATCH_NORM_EPS = 1e-3  # TensorFlow's; torch's default of 1e-5 moves every feature
_FC_SHAPE = (2048, 1008)  # 1008 classes, of which ImageNet has 1000


def _block_a(inputs: int, pool: int) -> dict[str, tuple]:
    return {
        "branch1x1": (1, 1, inputs, 64),
        "branch5x5_1": (1, 1, inputs, 48),
        "branch5x5_2": (5, 5, 48, 64),
        "branch3x3dbl_1": (1, 1, inputs, 64),
        "branch3x3dbl_2": (3, 3, 64, 96),
        "branch3x3dbl_3": (3, 3, 96, 96),
        "branch_pool": (1, 1, inputs, pool),
    }


def _block_c(width: int) -> dict[str, tuple]:
    return {
        "branch1x1": (1, 1, 768, 192),
        "branch7x7_1": (1, 1, 768, width),
        "branch7x7_2": (1, 7, width, width),
        "branch7x7_3": (7, 1, width, 192),
        "branch7x7dbl_1": (1, 1, 768, width),
        "branch7x7dbl_2": (7, 1, width, width),
        "branch7x7dbl_3": (1, 7, width, width),
        "branch7x7dbl_4": (7, 1, width, width),
        "branch7x7dbl_5": (1, 7, width, 192),
        "branch_pool": (1, 1, 768, 192),
    }


def _block_e(inputs: int) -> dict[str, tuple]:
    return {
        "branch1x1": (1, 1, inputs, 320),
        "branch3x3_1": (1, 1, inputs, 384),
        "branch3x3_2a": (1, 3, 384, 384),
        "branch3x3_2b": (3, 1, 384, 384),
        "branch3x3dbl_1": (1, 1, inputs, 448),
        "branch3x3dbl_2": (3, 3, 448, 384),
        "branch3x3dbl_3a": (1, 3, 384, 384),
        "branch3x3dbl_3b": (3, 1, 384, 384),
        "branch_pool": (1, 1, inputs, 192),
    }


_BLOCKS = {
    "Mixed_5b": _block_a(192, 32),
    "Mixed_5c": _block_a(256, 64),
    "Mixed_5d": _block_a(288, 64),
    "Mixed_6a": {
        "branch3x3": (3, 3, 288, 384),
        "branch3x3dbl_1": (1, 1, 288, 64),
        "branch3x3dbl_2": (3, 3, 64, 96),
        "branch3x3dbl_3": (3, 3, 96, 96),
    },
    "Mixed_6b": _block_c(128),
    "Mixed_6c": _block_c(160),
    "Mixed_6d": _block_c(160),
    "Mixed_6e": _block_c(192),
    "Mixed_7a": {
        "branch3x3_1": (1, 1, 768, 192),
        "branch3x3_2": (3, 3, 192, 320),
        "branch7x7x3_1": (1, 1, 768, 192),
        "branch7x7x3_2": (1, 7, 192, 192),
        "branch7x7x3_3": (7, 1, 192, 192),
        "branch7x7x3_4": (3, 3, 192, 192),
    },
    "Mixed_7b": _block_e(1280),
    "Mixed_7c": _block_e(2048),
}

CONVOLUTIONS: dict[str, tuple[int, int, int, int]] = {
    "Conv2d_1a_3x3": (3, 3, 3, 32),
    "Conv2d_2a_3x3": (3, 3, 32, 32),
    "Conv2d_2b_3x3": (3, 3, 32, 64),
    "Conv2d_3b_1x1": (1, 1, 64, 80),
    "Conv2d_4a_3x3": (3, 3, 80, 192),
    **{
        f"{block}.{branch}": shape
        for block, branches in _BLOCKS.items()
        for branch, shape in branches.items()
    },
}
"""Kernel shape (height, width, inputs, outputs) of each convolution by its dotted path."""


def _expected_tensors() -> Iterator[tuple[str, tuple[int, ...], type]]:
    """Yields name, shape and dtype of the 566 tensors; convolutions are OIHW in the file."""
    for path, (height, width, inputs, outputs) in CONVOLUTIONS.items():
        yield f"{path}.conv.weight", (outputs, inputs, height, width), np.float32
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{path}.bn.{part}", (outputs,), np.float32
        yield f"{path}.bn.num_batches_tracked", (), np.int64
    yield "fc.weight", _FC_SHAPE[::-1], np.float32
    yield "fc.bias", _FC_SHAPE[1:], np.float32


ExpectedTensors = Mapping[str, tuple[tuple[int, ...], np.dtype]]

EXPECTED_TENSORS = {name: (shape, np.dtype(dtype)) for name, shape, dtype in _expected_tensors()}


NETWORK = "the FID's Inception-v3 (pt_inception-2015-12-05)"


def check_tensors(
    tensors: Mapping[str, np.ndarray],
    repeated: Iterable[str] = (),
    *,
    expected: ExpectedTensors = EXPECTED_TENSORS,
    network: str = NETWORK,
) -> None:
    """Checks that these are a network's tensors and that all of their values can be used.

    Args:
      tensors: Arrays by name.
      repeated: Names that the file gives more than once.
      expected: Shape and dtype of each tensor of the network: 566 of the FID's.
      network: Its name.

    Raises:
      InputError: Lists every tensor that is missing, unknown, repeated, of another shape or type,
        not finite, or a negative variance.
    """
    # All faults at once, so that a converter can be corrected in one go.
    problems = [
        *(f"missing: {name}" for name in expected if name not in tensors),
        *(f"unknown: {name!r:.120}" for name in tensors if name not in expected),
        *(f"given more than once: {name!r:.120}" for name in repeated),
    ]
    for name in expected.keys() & tensors.keys():
        problems += _find_faults(name, tensors[name], expected[name])
    if problems:
        listing = "".join(f"\n  {problem}" for problem in sorted(problems))
        raise InputError(
            f"expected the {len(expected)} tensors of {network}, found {len(problems)} faults:{listing}"
        )


def _find_faults(
    name: str, tensor: np.ndarray, expected: tuple[tuple[int, ...], np.dtype]
) -> Iterator[str]:
    shape, dtype = expected
    if tensor.shape != shape:
        yield f"wrong shape: {name}: expected {shape}, found {tensor.shape}"
    if tensor.dtype != dtype:
        yield f"wrong dtype: {name}: expected {dtype}, found {tensor.dtype}"
    # A damaged file may have every name and shape right; its values are what is left to look at.
    elif not np.isfinite(tensor).all():
        yield f"not finite: {name}: {np.count_nonzero(~np.isfinite(tensor))} values"
    elif name.endswith("running_var") and (tensor < 0).any():
        yield f"negative variance: {name}: down to {tensor.min()}"


def fold_params(tensors: Mapping[str, np.ndarray]) -> Params:
    """Returns the network's parameters in float32, each BatchNorm folded into its convolution.

    The folding is done in float64: `kernel = weight * s` and `bias = beta - mean * s` with
    `s = gamma / sqrt(variance + 0.001)`.

    Args:
      tensors: The 566 tensors, checked by `check_tensors`.

    Raises:
      InputError: A folded value is beyond float32.
    """
    params: Params = {}
    for path in CONVOLUTIONS:
        # NumPy would give infinity with a warning, and every feature after it NaN.
        with np.errstate(over="raise"):
            try:
                _put(params, path, *_fold(tensors, path))
            except FloatingPointError as error:
                message = f"{path}: convolution times BatchNorm is beyond float32"
                raise InputError(message) from error
    _put(params, "fc", np.ascontiguousarray(tensors["fc.weight"].T), tensors["fc.bias"].copy())
    return params


def _fold(tensors: Mapping[str, np.ndarray], path: str) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, variance = (
        tensors[f"{path}.bn.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + BATCH_NORM_EPS)
    # OIHW to HWIO. In the official file this only undoes strides: it holds HWIO already.
    weight = np.ascontiguousarray(tensors[f"{path}.conv.weight"].transpose(2, 3, 1, 0))
    return (weight * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)


def _put(params: Params, path: str, kernel: np.ndarray, bias: np.ndarray) -> None:
    *blocks, name = path.split(".")
    for block in blocks:
        params = params.setdefault(block, {})
    params[name] = {"kernel": kernel, "bias": bias}


def untrained_params(seed: int = 0) -> Params:
    """Returns random parameters of the network's tree, the same on every machine for one seed.

    Uniform with He's variance, 2 / fan-in (https://arxiv.org/abs/1502.01852), so that features
    keep their scale through 48 layers. Uniform numbers are products of integers and powers of two;
    normal ones would depend on the platform's logarithm.
    """
    rng = np.random.default_rng(seed)
    params: Params = {}
    for path, shape in {**CONVOLUTIONS, "fc": _FC_SHAPE}.items():
        _put(params, path, draw_kernel(rng, shape), np.zeros(shape[-1], np.float32))
    return params


def draw_kernel(rng: np.random.Generator, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Returns a kernel `(..., inputs, outputs)` of float32, as `untrained_params` says."""
    bound = np.float32(math.sqrt(6 / math.prod(shape[:-1])))
    return (rng.random(shape, np.float32) * 2 - 1) * bound
