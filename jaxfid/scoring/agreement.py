"""Whether all processes are about to do the same."""

from collections.abc import Sequence
from importlib import metadata
from typing import Any

from jaxfid.distributed.group import process_group
from jaxfid.extraction.image_set import ImageSet
from jaxfid.extractors.registry import EXTRACTORS
from jaxfid.images.identity import identify_content, identify_source
from jaxfid.settings import Settings
from jaxfid.storage.digests import digest_arrays


def require_agreement(settings: Settings, image_sets: Sequence[ImageSet]) -> None:
    """Finds out whether all processes evaluate the same; alone, there is nothing to find out.

    How the work is done may differ between them; what is computed may not.

    Args:
      settings: The choices.
      image_sets: The sets as they were opened.

    Raises:
      InputError: They do not; the message says what differs, on every process.
    """
    group = process_group()
    if group.count > 1:  # alone, to identify the sets would take time for nothing
        names = [image_set.name for image_set in image_sets]
        group.require_agreement(_describe(settings, image_sets), sets=names)


def _describe(settings: Settings, image_sets: Sequence[ImageSet]) -> dict[str, Any]:
    f, m = settings.features, settings.metrics
    names = [e if isinstance(e, str) else e.name for e in f.extractors]
    entries: dict[str, Any] = {
        "version": metadata.version("jaxfid"),
        "extractor": names,
        "protocol": _name_protocol(settings),
        "input": None if f.protocol is None else f.protocol.content(),
        "crop": f.crop,
        "metrics": m.names,
        "number of sets": len(image_sets),
        **m.options,
        **{n: getattr(f, n) for n in ("dims", "precision", "limit", "seed", "on_error")},
        **{n: getattr(m, n) for n in ("allow_mismatch", "verify")},
        # The one runtime choice that all must share: it decides which process sees which image.
        "batch_size": settings.runtime.batch_size,
    }
    for number, image_set in enumerate(image_sets):
        identity = identify_image_set(image_set, content_alone=True)
        entries |= {f"{n} of set {number}": v for n, v in identity.items()}
    return entries


def _name_protocol(settings: Settings) -> str | None:
    """Returns the input rule by name: the one chosen, or the default of the first network."""
    f = settings.features
    if f.protocol is not None:
        return f.protocol.name
    first = f.extractors[0]
    known = EXTRACTORS.get(first) if isinstance(first, str) else None
    return known.protocols[0] if known is not None and known.protocols else None


def identify_image_set(
    image_set: ImageSet, *, content_alone: bool = False, strict: bool = False
) -> dict[str, Any]:
    """Returns what tells a set from any other: digests of its statistics, features and images.

    Args:
      image_set: As it was opened.
      content_alone: Leave out times and inodes, which differ between machines.
      strict: Look at every byte of the images.
    """
    entries: dict[str, Any] = {}
    stats = image_set.stats
    # The arrays and not the file: the same statistics may lie in files of two layouts.
    while stats is not None:
        name = "statistics" if stats is image_set.stats else "statistics of spatial"
        entries[name] = digest_arrays({"mean": stats.mean, "cov": stats.cov})
        stats = stats.spatial
    if image_set.features is not None:
        entries["features"] = digest_arrays({"rows": image_set.features.rows})
    if image_set.source is not None:
        identify = identify_content if content_alone else identify_source
        entries |= identify(image_set.source, strict=strict)
    return entries
