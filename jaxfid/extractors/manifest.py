"""The published weights files: where each comes from and how it is known again."""

import dataclasses
import json
import pathlib

from jaxfid.errors import JaxfidError
from jaxfid.storage.files import read_file

_MAX_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Release:
    """A published weights file.

    Attributes:
      name: What results call the weights.
      file: Its file name at the origin.
      url: Where it is downloaded.
      size_bytes: Its size.
      sha256: Its digest; weights with any other digest are "unrecognised".
      license: SPDX identifier of the weights' licence.
      origin: Who trained and who converted them.
      tensors_sha256: Digest of its tensors (`digest_arrays`), by which a converted copy is known;
        None where nobody has taken it from the published file yet.
    """

    name: str
    file: str
    url: str
    size_bytes: int
    sha256: str
    license: str
    origin: str
    tensors_sha256: str | None = None


def load_manifest() -> tuple[Release, ...]:
    """Returns the releases of `weights/manifest.json`; `load_weights("auto")` takes the first.

    An installed wheel carries the file inside the package, a checkout has it beside the package.

    Raises:
      JaxfidError: The installation lacks the file.
    """
    # Where a wheel has it first: beside an installed package may lie anyone's folder.
    package = pathlib.Path(__file__).parents[1]
    for root in (package, package.parent):
        path = root / "weights" / "manifest.json"
        if path.is_file():
            entries = json.loads(read_file(path, max_bytes=_MAX_BYTES))["weights"]
            return tuple(Release(**entry) for entry in entries)
    raise JaxfidError(f"{package}: weights/manifest.json is missing; install jaxfid again")
