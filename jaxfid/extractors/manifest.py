"""The published weights files: where each comes from and how it is known again."""

import dataclasses
import json
import pathlib

from jaxfid.errors import InputError, JaxfidError
from jaxfid.storage.files import read_file

_MAX_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Release:
    """A published weights file.

    Attributes:
      name: What results call the weights.
      file: Its file name at the origin.
      url: Where it is downloaded.
      size_bytes: Its size; None where no public source says it.
      sha256: Its digest; weights with any other digest are "unrecognised". None where no public source says
        it: then all of them are.
      license: SPDX identifier of the weights' licence.
      origin: Who trained and who converted them.
      networks: Names of the extractors that load them.
      tensors_sha256: Digest of its tensors (`digest_arrays`), by which a converted copy is known;
        None where nobody has taken it from the published file yet.
    """

    name: str
    file: str
    url: str
    size_bytes: int | None
    sha256: str | None
    license: str
    origin: str
    networks: tuple[str, ...]
    tensors_sha256: str | None = None


def load_manifest() -> tuple[Release, ...]:
    """Returns the releases of `weights/manifest.json`, Inception's first.

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
            return tuple(
                Release(**{**entry, "networks": tuple(entry["networks"])}) for entry in entries
            )
    raise JaxfidError(f"{package}: weights/manifest.json is missing; install jaxfid again")


def find_release(network: str) -> Release:
    """Returns the published weights of an extractor.

    Raises:
      InputError: No published weights of that name are known.
    """
    known = {name: release for release in load_manifest() for name in release.networks}
    if network not in known:
        raise InputError(f"extractor: expected one of {', '.join(known)}, found {network!r}")
    return known[network]
