"""The parts of one set that several processes have seen, put together in the order of the source."""

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxfid.distributed.group import ProcessGroup
from jaxfid.extraction.accumulators import FeatureStore
from jaxfid.images.batches import Skipped
from jaxfid.images.interface import ImageSource


def features_of_all(group: ProcessGroup, store: FeatureStore) -> Float[np.ndarray, "n d"]:
    """Returns the features that all processes have kept; waits for all."""
    if group.count == 1:
        return store.features()
    state = store.state()
    features, indices = (np.concatenate(group.gather(state[n])) for n in ("features", "indices"))
    return features[np.argsort(indices)]


def skipped_of_all(
    group: ProcessGroup, skipped: Sequence[Skipped], source: ImageSource
) -> list[Skipped]:
    """Returns the files that any process has left out; waits for all."""
    texts = group.exchange(json.dumps([dataclasses.asdict(one) for one in skipped]))
    everyone = [Skipped(**one) for text in texts for one in json.loads(text)]
    if group.count == 1 or not everyone:
        return everyone
    place = {key: number for number, key in enumerate(source.keys)}
    return sorted(everyone, key=lambda one: place[one.key])
