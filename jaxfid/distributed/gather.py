"""What several processes have kept of one set, put together in the order of its source."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from jaxfid.distributed.group import ProcessGroup
from jaxfid.images.batches import Skipped
from jaxfid.images.interface import ImageSource


def gather_features(
    group: ProcessGroup, state: Mapping[str, np.ndarray]
) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
    """Returns the features that all processes have kept, and their places in the source; waits for all.

    Args:
      group: The processes.
      state: `features` and `indices` of this process, as `FeatureStore.state` gives them.
    """
    gathered = zip(group.gather(state["features"]), group.gather(state["indices"]), strict=True)
    # A process without a row does not know how wide rows are.
    parts = [(rows, indices) for rows, indices in gathered if len(rows)]
    if not parts:
        return state["features"], state["indices"]
    features, indices = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if (
        indices[1:] > indices[:-1]
    ).all():  # as decoded images come: a copy would take as much memory
        return features, indices
    order = np.argsort(indices)
    return features[order], indices[order]


def gather_text(group: ProcessGroup, text: str) -> list[str]:
    """Returns the texts of all processes, which may be long; waits for all."""
    return [part.decode() for part in gather_bytes(group, text.encode())]


def gather_bytes(group: ProcessGroup, data: bytes) -> list[bytes]:
    """Returns the bytes of all processes; waits for all."""
    padded = np.frombuffer(data + b"\0" * (-len(data) % 4), np.uint32)
    lengths = group.gather(np.array([len(data)]))
    parts = zip(group.gather(padded), lengths, strict=True)
    return [words.tobytes()[: int(length[0])] for words, length in parts]


def gather_skipped(
    group: ProcessGroup, skipped: Sequence[Skipped], source: ImageSource
) -> list[Skipped]:
    """Returns the files that any process has left out, in the order of the source; waits for all."""
    texts = group.exchange(json.dumps([dataclasses.asdict(one) for one in skipped]))
    everyone = [Skipped(**one) for text in texts for one in json.loads(text)]
    if group.count == 1 or not everyone:
        return everyone
    place = {key: number for number, key in enumerate(source.keys)}
    return sorted(everyone, key=lambda one: place[one.key])
