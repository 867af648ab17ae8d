"""The JAX context of jaxfid's own programs, whatever the context of the caller is.

A training program sets a mesh, a default device or strict rules for its own arrays. None of that is meant
for an evaluation in the middle of it, and most of it would make one fail.
"""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh


@contextlib.contextmanager
def own_context(*, x64: bool | None = False) -> Iterator[None]:
    """Runs the programs inside it as if the caller had set nothing. Also a decorator.

    Inside a function that JAX traces, the mesh, the device and x64 stay the caller's, as the program is.
    What a user gave (a sampler, an image source) is not to be called inside: it expects its own context.

    Args:
      x64: Whether float64 is enabled; None leaves it as it is.
    """
    with contextlib.ExitStack() as stack:
        # A scalar or a row against a matrix is meant wherever it stands here.
        stack.enter_context(jax.numpy_rank_promotion("allow"))
        stack.enter_context(jax.numpy_dtype_promotion("standard"))
        if _set_no_mesh(stack):
            stack.enter_context(jax.default_device(None))
            stack.enter_context(jax.disable_jit(False))
            # A NaN is an answer of ours, with a message of its own.
            stack.enter_context(jax.debug_nans(False))
            stack.enter_context(jax.debug_infs(False))
            stack.enter_context(jax.transfer_guard("allow"))
            if x64 is not None:
                stack.enter_context(jax.enable_x64(x64))
        yield


def _set_no_mesh(stack: contextlib.ExitStack) -> bool:
    """Enters the context of no mesh; False inside a traced function, where JAX forbids it."""
    try:
        # Not `None`, which JAX 0.8 refuses.
        stack.enter_context(jax.set_mesh(Mesh(np.empty((), object), ())))
    except ValueError:
        return False
    return True
