"""The folder of progress is one evaluation's at a time."""

import contextlib
from collections.abc import Iterator

from jaxfid.distributed.group import process_group
from jaxfid.settings import Settings
from jaxfid.storage.locks import lock


@contextlib.contextmanager
def holding_progress(settings: Settings) -> Iterator[None]:
    """Keeps a second run out of the folder of progress, where one would lose the other's.

    Args:
      settings: Whose `resume` names the folder; without one there is nothing to hold.

    Raises:
      InputError: Another evaluation holds it.
    """
    resume = settings.runtime.resume
    with contextlib.ExitStack() as stack:
        if resume is not None and process_group().index == 0:
            stack.enter_context(lock(resume, "an evaluation"))
        yield
