"""States of several processes brought together: the same float64 bits on each, or an error."""

import contextlib
from typing import Literal, get_args

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Float32, UInt32, UInt64

from jaxfid.context import own_context
from jaxfid.distributed.group import ProcessGroup, process_group
from jaxfid.errors import InputError
from jaxfid.extraction.devices import over_automatic_axes
from jaxfid.extraction.evaluator_state import EvaluatorState, merge_leading_axes, require_float64
from jaxfid.stats.integer_moments import IntegerMoments
from jaxfid.stats.kept_rows import KeptRows
from jaxfid.storage.digests import digest_arrays

Over = Literal["auto", "all", "this"]
"""Whose images a state stands for; `bring_together` says what each means."""


def bring_together(state: EvaluatorState, over: str = "auto") -> EvaluatorState:
    """Returns the state of all images that are meant, on the host; leading axes are merged.

    Args:
      state: Of this process, or arrays that are laid over all processes.
      over: "this" takes what this process holds. "all" adds up the processes' own states. "auto" does so
        too, but takes a state once that is the same to the bit on all, as one that was merged before.
        Arrays laid over all processes hold all images already, and are taken as they are.

    Raises:
      InputError: The sums are not float64; or it cannot be known whose images are meant.
      JaxfidError: Another process failed, died, or does not take part.
    """
    if over not in get_args(Over):
        raise InputError(f"over: expected {', '.join(get_args(Over))}, found {over!r}")
    # An evaluation of this process alone is none of the others': they need not begin it.
    with contextlib.nullcontext() if over == "this" else process_group().one_evaluation():
        require_float64(state)
        return _fetch(state, over) if _is_of_all(state) else _add_up(state, over)


def _add_up(state: EvaluatorState, over: str) -> EvaluatorState:
    """Returns the sum of the states that the processes hold, where those are meant."""
    own, group = state.total(), process_group()
    if over == "this" or jax.process_count() == 1:
        return own
    if group.count == 1:
        raise InputError(
            f"state: it is of this process alone, one of {jax.process_count()}, and they have not joined: "
            "call jaxfid.initialize_distributed() once on each, or compute with over='this' for its own "
            "images"
        )
    return _merge(own, group, over)


def _is_of_all(state: EvaluatorState) -> bool:
    """Whether the arrays are laid over several processes."""
    found = {
        isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
        for leaf in jax.tree.leaves(state)
    }
    if len(found) > 1:
        raise InputError(
            "state: some of its arrays are of this process and others of all, so that nobody can know whose "
            "images they stand for"
        )
    return found.pop()


def _fetch(state: EvaluatorState, over: str) -> EvaluatorState:
    """Returns a state of arrays that are laid over all processes; all of them call."""
    # A state whose arrays lie on all devices of all processes needs no collective.
    if all(leaf.is_fully_replicated for leaf in jax.tree.leaves(state)):
        return jax.tree.map(np.asarray, state).total()
    if over == "this":
        raise InputError(
            "over: expected all or auto for a state whose arrays are divided over the processes, found this"
        )
    sharding = getattr(state.moments.outer, "sharding", None)
    if not isinstance(sharding, NamedSharding):
        raise InputError(
            f"state: expected arrays on a mesh (NamedSharding), found {type(sharding).__name__}"
        )
    whole = NamedSharding(sharding.mesh, P())
    with own_context(x64=True):
        total = jax.jit(over_automatic_axes(merge_leading_axes), out_shardings=whole)(state)
        return jax.tree.map(np.asarray, total)


def _merge(own: EvaluatorState, group: ProcessGroup, over: str) -> EvaluatorState:
    """Returns the sum of the processes' states, added in their order on each."""
    shape = {"state": [own.moments.outer.shape, own.rows.rows.shape]}
    group.require_agreement(shape)
    digest = digest_arrays({str(i): leaf for i, leaf in enumerate(jax.tree.leaves(own))})
    seen = group.exchange(f"{digest} {int(own.merged)}")
    if over == "auto" and len(set(seen)) == 1:
        return own
    if sum(text.endswith("1") for text in seen) > 1:
        raise InputError(
            "state: several processes hold states that were merged before, whose images would count several "
            "times. Go on from each process's own state, and merge that one anew for each look"
        )
    (parts,) = np.max(group.gather(np.array([own.parts], np.int32)), axis=0)
    kept = own.rows
    rows = _merge_rows(np.asarray(kept.rows), np.asarray(kept.keys), np.asarray(kept.places), group)
    moments = own.moments
    if isinstance(moments, IntegerMoments):
        moments = moments.total_over_processes(group.total)
    else:
        moments = group.total(moments)
    return EvaluatorState(moments, rows, np.array(parts), np.ones((), np.int32))


def _merge_rows(
    rows: Float32[np.ndarray, "k d"],
    keys: UInt32[np.ndarray, "k 2"],
    places: UInt32[np.ndarray, " k"],
    group: ProcessGroup,
) -> KeptRows:
    """Returns the sample of all processes' rows. Only those that are in it are sent."""
    limit = len(keys)
    everyones = np.sort(np.concatenate([_as_numbers(part) for part in group.gather(keys)]))
    # A place without a row has the largest key there is.
    largest = min(everyones[limit - 1], np.iinfo(np.uint64).max - 1)
    is_wanted = _as_numbers(keys) <= largest
    found = KeptRows(
        *(np.concatenate(group.gather(leaf[is_wanted])) for leaf in (rows, keys, places))
    )
    with own_context():
        return jax.device_get(KeptRows.empty(rows.shape[1], limit=limit) + found)


def _as_numbers(keys: UInt32[np.ndarray, "n 2"]) -> UInt64[np.ndarray, " n"]:
    """Returns keys of two halves as one number each."""
    return keys[:, 0].astype(np.uint64) << np.uint64(32) | keys[:, 1].astype(np.uint64)
