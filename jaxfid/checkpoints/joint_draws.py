"""Images that all processes draw together: how one waits for the others, and shows them an image."""

import concurrent.futures
import json
from concurrent.futures import Future
from typing import Any

import numpy as np
from jaxtyping import UInt8

from jaxfid.distributed.gather import gather_bytes
from jaxfid.distributed.group import process_group
from jaxfid.distributed.heartbeat import LostProcessError
from jaxfid.errors import JaxfidError
from jaxfid.extraction.local_rows import LocalRows, fetch_rows

POLL_S = 0.1

PATIENCE_S = 10.0
"""How long a draw may still take after another process has failed in its own part of it."""


def wait_together(chunk: Future[Any]) -> Any:  # noqa: ANN401
    """Returns what is being drawn, unless another process fails meanwhile.

    Raises:
      LostProcessError: This process waits inside the sampler for one that has failed, and cannot be
        brought back from there.
      JaxfidError: Another process failed.
    """
    while not concurrent.futures.wait([chunk], POLL_S).done:
        try:
            process_group().check_others()
        except JaxfidError as error:
            if not concurrent.futures.wait([chunk], PATIENCE_S).done:
                raise LostProcessError(
                    f"the sampler waits for a process that has failed: {error}"
                ) from error
            raise
    return chunk.result()


def pick_together(chunk: LocalRows, row: int) -> UInt8[np.ndarray, "h w 3"]:
    """Returns one image of a chunk, which only one process has; all of them call it."""
    found = np.flatnonzero(chunk.positions == row).tolist()
    mine = fetch_rows(chunk.images, found)
    group = process_group()
    shapes = [json.loads(text) for text in group.exchange(json.dumps([i.shape for i in mine]))]
    data = gather_bytes(group, mine[0].tobytes() if mine else b"")
    owner = next(index for index, shape in enumerate(shapes) if shape)
    return np.frombuffer(data[owner], np.uint8).reshape(shapes[owner][0])
