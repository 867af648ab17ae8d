"""Files of evaluator states: sums, kept rows, and what the features depend on."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

from jaxfid.errors import InputError
from jaxfid.extraction.evaluator_state import EvaluatorState
from jaxfid.provenance import COMPARED, Provenance, describe_difference
from jaxfid.stats.integer_moments import IntegerMoments
from jaxfid.stats.json_array import make_json_array, read_json_array
from jaxfid.stats.kept_rows import KeptRows
from jaxfid.stats.moments import Moments
from jaxfid.storage.files import write_file
from jaxfid.storage.npz import read_npz

_PROVENANCE = "provenance"
_COMPARED = (*COMPARED, "value_range", "quantize")


def save_state(
    path: str | os.PathLike[str], state: EvaluatorState, provenance: Mapping[str, Any]
) -> None:
    """Writes an `.npz` of a state on the host; it appears under its name when it is whole.

    Raises:
      InputError: Nothing can be written there.
    """
    arrays = _name_arrays(state)
    arrays[_PROVENANCE] = make_json_array(provenance, _PROVENANCE)
    write_file(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def load_state(
    path: str | os.PathLike[str], like: EvaluatorState, provenance: Mapping[str, Any]
) -> EvaluatorState:
    """Returns the state of a file, on the host.

    Args:
      path: The file.
      like: An empty state of the evaluator that is to go on with it.
      provenance: What the features of that evaluator depend on.

    Raises:
      InputError: It is no such file, or a state of other features: the message says what differs.
    """
    name, arrays = os.fspath(path), dict(read_npz(path))
    expected = _name_arrays(like)
    missing = sorted({*expected, _PROVENANCE} - set(arrays))
    if missing:
        raise InputError(
            f"{name}: expected a state that evaluator.save wrote, found no {', '.join(missing)}"
        )
    saved = read_json_array(arrays[_PROVENANCE], f"{name}: {_PROVENANCE}")
    # Before shapes: that weights or protocol differ says more than two numbers of features.
    differences = Provenance(saved).diff(provenance, names=_COMPARED)
    if differences:
        found = "; ".join(describe_difference(*difference) for difference in differences)
        raise InputError(
            f"{name}: a state of other features than this evaluator's: {found}. Make the evaluator as it "
            "was when the state was saved"
        )
    for key, array in expected.items():
        _check_array(f"{name}: {key}", arrays[key], array)
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[key] for key in expected])


def _name_arrays(state: EvaluatorState) -> dict[str, Shaped[np.ndarray, "..."]]:
    """Returns the leaves by name, in their order in the tree."""
    parts = (state.moments, state.rows, {"parts": state.parts, "merged": state.merged})
    named = [
        vars(part) if isinstance(part, Moments | IntegerMoments | KeptRows) else part
        for part in parts
    ]
    return {name: np.asarray(leaf) for part in named for name, leaf in part.items()}


def _check_array(label: str, found: np.ndarray, expected: np.ndarray) -> None:
    kinds = [f"{array.dtype.name} of shape {array.shape}" for array in (expected, found)]
    if kinds[0] != kinds[1]:
        raise InputError(f"{label}: expected {kinds[0]}, found {kinds[1]}")
