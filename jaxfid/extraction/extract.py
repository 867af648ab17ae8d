"""The pass over a set's images: every extractor's features from one decoding."""

import dataclasses
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh

from jaxfid.activity import counting
from jaxfid.distributed.gather import gather_features, gather_skipped
from jaxfid.distributed.group import process_group
from jaxfid.errors import InputError
from jaxfid.extraction.accumulators import (
    DeviceMoments,
    FeatureStore,
    HostMoments,
    Sums,
    make_moments,
)
from jaxfid.extraction.decoding import JointBatch, JointBatches
from jaxfid.extraction.device_batches import DeviceBatch, DeviceBatches
from jaxfid.extraction.device_source import DeviceSource
from jaxfid.extraction.devices import is_cpu, local_mesh
from jaxfid.extraction.feature_pass import FeaturePass, Features, run_pass
from jaxfid.extraction.image_set import (
    ExtractedFeatures,
    ExtractedSet,
    ImageSet,
    KeptFeatures,
    Needs,
)
from jaxfid.extraction.snapshots import Keeper, Snapshots, snapshot_path
from jaxfid.extractors.interface import Extractor
from jaxfid.images.batches import Batch
from jaxfid.images.identity import identify_content, identify_source
from jaxfid.images.interface import ImageSource
from jaxfid.provenance import Provenance, versions
from jaxfid.stats.files import Stats
from jaxfid.stats.kept_rows import kept_indices
from jaxfid.stats.moments import Moments
from jaxfid.storage.files import check_writable

# On a CPU images go through the network one by one, so that larger batches gain nothing.
ROWS_PER_CPU_DEVICE, ROWS_PER_ACCELERATOR = 32, 256


@dataclasses.dataclass(frozen=True)
class Request:
    """What is wanted of one extractor.

    Attributes:
      extractor: The network.
      needs: What to keep of its features.
    """

    extractor: Extractor
    needs: Needs


@dataclasses.dataclass(frozen=True)
class ExtractOptions:
    """How images are seen. No feature depends on it but by `limit`, `seed` and `on_error`.

    Attributes:
      batch_size: Images per step over all devices and processes, a multiple of their number.
      devices: How many of this process's devices to use; None for all.
      num_workers: Decoding threads; None is one for each core.
      sums: Where sums of features are kept.
      on_error: Whether an unreadable file ends the pass or is left out.
      limit: Size of the random subset that was taken; it belongs to the identity of the set.
      seed: Of that subset.
      resume: Folder of snapshots; None keeps none.
      resume_every_s: Seconds from one snapshot to the next.
      resume_strict: Whether a set is identified by every byte of its images.
      progress: Show on stderr how far the pass is.
    """

    batch_size: int
    devices: int | None = None
    num_workers: int | None = 0
    sums: Sums = "auto"
    on_error: Literal["fail", "skip"] = "fail"
    limit: int | None = None
    seed: int = 0
    resume: str | os.PathLike[str] | None = None
    resume_every_s: float = 30.0
    resume_strict: bool = False
    progress: bool = False


def choose_batch_size(wanted: int | None, largest: int, devices: int | None) -> int:
    """Returns the images of one step: as many as asked for or as fit, no more than the largest set.

    Args:
      wanted: What the user asked for; None chooses for the devices.
      largest: Images in the largest set.
      devices: How many of this process's devices are used; None for all.
    """
    mesh = local_mesh(devices)
    num_devices = mesh.size * process_group().count
    rows = ROWS_PER_CPU_DEVICE if is_cpu(mesh) else ROWS_PER_ACCELERATOR
    # A batch of more rows than any set has would compute padding.
    fitting = min(wanted or rows * num_devices, largest)
    return -(-fitting // num_devices) * num_devices


def extract(
    image_set: ImageSet,
    requests: Sequence[Request],
    options: ExtractOptions,
    *,
    snapshot_name: str | None = None,
    keep_finished: bool = True,
) -> ExtractedSet:
    """Returns the set with all that was requested of it. Its images are decoded once for all extractors.

    Args:
      image_set: The set as it was opened.
      requests: The extractors and what to keep of each.
      options: How to see the images.
      snapshot_name: Under which name progress is kept; None for the set's own.
      keep_finished: Whether the finished set is kept where `resume` says, for later runs.

    Raises:
      InputError: There are no images to see; one cannot be read, and `on_error` is "fail"; or fewer than two
        can be read.
    """
    source = require_images(image_set, [request.needs for request in requests])
    name = snapshot_name or image_set.name
    return _see(image_set.name, source, requests, options, name, keep_finished)


def require_images(image_set: ImageSet, needs: Iterable[Needs]) -> ImageSource:
    """Returns the images of a set.

    Args:
      image_set: The set as it was opened.
      needs: What is to be kept of them, for the message.

    Raises:
      InputError: There are none.
    """
    if image_set.source is None:
        wanted = sorted({name for one in needs for name in one.all()})
        raise InputError(
            f"{image_set.name}: what was asked for needs its images (features {', '.join(wanted)}), "
            "and the file does not hold them; give the images, or a file of `jaxfid features`"
        )
    return image_set.source


def _see(
    name: str,
    source: ImageSource,
    requests: Sequence[Request],
    options: ExtractOptions,
    snapshot_name: str,
    keep_finished: bool,
) -> ExtractedSet:
    group = process_group()
    joint = _JointPass(requests, local_mesh(options.devices))
    on_devices = _stays_on_devices(source, requests, joint.mesh)

    def begin() -> tuple[list[_Kept], Snapshots]:
        kept = [_Kept(request, joint.mesh, len(source), options.sums) for request in requests]
        identity = _identify_pass(requests, kept, options)
        if on_devices:  # which decide what is in a batch
            identity["devices"] = joint.mesh.size
        _require_agreement(source, identity)
        keepers = [keeper for one in kept for keeper in one.keepers()]
        return kept, _open_snapshots(
            source, identity, keepers, options, snapshot_name, keep_finished
        )

    kept, snapshots = begin()
    if source.jointly and len(set(group.exchange(str(snapshots.next_batch)))) > 1:
        # They were killed while these were written: what one has drawn alone is of no use.
        snapshots.discard()
        kept, snapshots = begin()
    open_batches = _take_batches if on_devices else _decode_batches
    batches = open_batches(source, requests, options, snapshots.next_batch)
    # Where all draw together, one that ended alone would leave the others waiting for its part.
    watching: dict[str, Any] = (
        {"decide": group.check_together} if source.jointly else {"check": group.check}
    )
    done = snapshots.next_batch * options.batch_size // group.count
    total = -(-len(source) // group.count)  # this process's part
    with counting(source.name, total, done=done, shown=options.progress) as advance:
        followed = snapshots.follow(batches, **watching)
        keepers = [keeper for one in kept for keeper in one.keepers()]
        run_pass(joint, followed, keepers, advance=advance, shown=options.progress)
    return ExtractedSet(
        name,
        {one.name: one.finish(source) for one in kept},
        [dataclasses.asdict(s) for s in gather_skipped(group, snapshots.skipped, source)],
        source,
        snapshots.remarks,
    )


def _require_agreement(source: ImageSource, identity: Mapping[str, Any]) -> None:
    """Checks that all processes are about to see the same set in the same way."""
    group = process_group()
    if group.count > 1:
        # The batches decide which process sees what, and a gather counts on equal numbers of devices. Clocks
        # and inodes differ between machines: what they have to see alike is content.
        content = identify_content(source)
        group.require_agreement({**identity, **content, "devices": jax.local_device_count()})


def _stays_on_devices(source: ImageSource, requests: Sequence[Request], mesh: Mesh) -> bool:
    """Whether images go from where they were made to the network without visiting the host.

    Raises:
      InputError: They cannot, and come from all processes together.
    """
    # Crops are Pillow's, on the host.
    cropped = any(request.extractor.protocol.crops for request in requests)
    stays = isinstance(source, DeviceSource) and source.mesh == mesh and not cropped
    if source.jointly and not stays:
        raise InputError(
            "sampler_placement: images that all processes draw together stay on the devices, where they "
            "cannot be cropped; crop them in the sampler, or choose 'process'"
        )
    return stays


def _take_batches(
    source: ImageSource, requests: Sequence[Request], options: ExtractOptions, start: int
) -> DeviceBatches:
    assert isinstance(source, DeviceSource)
    group = process_group()
    rows = options.batch_size // (source.mesh.size * group.count)
    return DeviceBatches(source, share=(group.index, group.count), rows=rows, start=start)


def _decode_batches(
    source: ImageSource, requests: Sequence[Request], options: ExtractOptions, start: int
) -> JointBatches:
    group = process_group()
    return JointBatches(
        source,
        [request.extractor.protocol for request in requests],
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        on_error=options.on_error,
        share=(group.index, group.count),
        start=start,
    )


def _open_snapshots(
    source: ImageSource,
    identity: Mapping[str, Any],
    keepers: Sequence[Keeper],
    options: ExtractOptions,
    name: str,
    keep_finished: bool,
) -> Snapshots:
    """Returns what an earlier run of the set has left, and where this one leaves its own."""
    group = process_group()
    path = None
    if options.resume is not None:
        path = snapshot_path(options.resume, name, process=group.index)
        check_writable(path)  # now, not after the first 30 seconds of work
        # Sums are of the images of this process: with another number of processes they are others.
        position = {"processes": group.count, "process": group.index}
        identity = {**identity, **identify_source(source, strict=options.resume_strict), **position}
    every_s = options.resume_every_s
    return Snapshots(path, identity, keepers, every_s=every_s, keep_finished=keep_finished)


class _JointPass:
    """Several extractors over the same batches. Features are called `extractor/feature`."""

    def __init__(self, requests: Sequence[Request], mesh: Mesh) -> None:
        self.mesh = mesh
        self._passes = {r.extractor.name: _make_pass(r.extractor, mesh) for r in requests}
        self._protocols = {r.extractor.name: r.extractor.protocol for r in requests}

    def __call__(self, batch: Batch) -> Features:
        assert isinstance(batch, JointBatch | DeviceBatch)  # as they are made here
        return {
            f"{name}/{feature}": rows
            for name, one in self._passes.items()
            for feature, rows in one(batch.of(self._protocols[name])).items()
        }


_passes: weakref.WeakKeyDictionary[Extractor, dict[Mesh, FeaturePass]] = weakref.WeakKeyDictionary()


def _make_pass(extractor: Extractor, mesh: Mesh) -> FeaturePass:
    """Returns the extractor made ready on the devices, the same one for all sets: it compiles once."""
    of_extractor = _passes.setdefault(extractor, {})
    if mesh not in of_extractor:
        of_extractor[mesh] = FeaturePass(extractor, mesh)
    return of_extractor[mesh]


class _Kept:
    """What one extractor's pass keeps of a set."""

    def __init__(self, request: Request, mesh: Mesh, num_images: int, sums: Sums) -> None:
        self.name, self._extractor = request.extractor.name, request.extractor
        needs, widths = request.needs, request.extractor.widths
        self.moments: dict[str, DeviceMoments | HostMoments] = {
            f: make_moments(self._key(f), widths[f], mesh, sums=sums) for f in sorted(needs.moments)
        }
        # Rows are a part of the features where those are kept whole.
        self._rows = needs.rows
        self._kept = kept_indices(num_images)
        self.stores = {
            f: FeatureStore(self._key(f), None if f in needs.features else self._kept)
            for f in sorted(needs.features | needs.rows)
        }
        self.whole = needs.features

    def _key(self, feature: str) -> str:
        return f"{self.name}/{feature}"

    def keepers(self) -> list[DeviceMoments | HostMoments | FeatureStore]:
        """Returns the accumulators, always in the same order."""
        return [*self.moments.values(), *self.stores.values()]

    def describe(self) -> dict[str, list[str]]:
        """Returns what is kept, by names of features."""
        return {
            "moments": sorted(self.moments),
            "rows": sorted(set(self.stores) - self.whole),
            "features": sorted(self.whole),
        }

    def finish(self, source: ImageSource) -> ExtractedFeatures:
        """Returns what all processes have kept; waits for all."""
        group = process_group()
        stats = {
            name: self._stats(name, source, moments.total(group))
            for name, moments in self.moments.items()
        }
        features, rows = {}, {}
        for name, store in self.stores.items():
            found, indices = gather_features(group, store.state())
            if name in self.whole:
                features[name] = found
            if name in self._rows:
                # A store that kept every row holds more than those.
                kept = np.isin(indices, self._kept)
                rows[name] = KeptFeatures(found[kept], indices[kept])
        provenance = self._provenance(self._extractor.default_feature, source)
        return ExtractedFeatures(provenance, stats, rows, features)

    def _provenance(self, feature: str, source: ImageSource) -> Mapping[str, Any]:
        origin = self._extractor.provenance(feature)
        return Provenance(origin, source=source.name, versions=versions())

    def _stats(self, feature: str, source: ImageSource, moments: Moments) -> Stats:
        count = int(moments.count)
        # Only known now: `on_error` may have left files out.
        if count < 2:
            raise InputError(f"{source.name}: a covariance needs at least 2 images, found {count}")
        return Stats(moments.mean(), moments.cov(), count, self._provenance(feature, source))


def _identify_pass(
    requests: Sequence[Request],
    kept: Sequence[_Kept],
    options: ExtractOptions,
) -> dict[str, Any]:
    """Returns all that the kept sums and the numbers of the batches depend on."""
    return {
        # Another version may sum or decode otherwise; half a set of each would be neither.
        "version": metadata.version("jaxfid"),
        "on_error": options.on_error,
        "limit": options.limit,
        "seed": options.seed,
        "batch size": options.batch_size,
        **{f"kept of {one.name}": one.describe() for one in kept},
        **_name_entries(requests),
    }


def _name_entries(requests: Sequence[Request]) -> dict[str, Any]:
    """Returns the provenance of each extractor; with one alone, under its plain names."""
    if len(requests) == 1:
        return requests[0].extractor.provenance()
    return {
        f"{r.extractor.name} {name}": value
        for r in requests
        for name, value in r.extractor.provenance().items()
    }
