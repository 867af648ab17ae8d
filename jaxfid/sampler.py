"""From sources to samples: the weights, the network made ready, and the pass that keeps what is needed."""

import collections
import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from tqdm import tqdm

from jaxfid.checks import Origin
from jaxfid.distributed.gather import features_of_all, skipped_of_all
from jaxfid.distributed.group import process_group
from jaxfid.environment import versions
from jaxfid.errors import InputError
from jaxfid.extraction.accumulators import FeatureStore, make_moments
from jaxfid.extraction.devices import is_cpu, local_mesh
from jaxfid.extraction.feature_pass import FeaturePass, run_pass
from jaxfid.extraction.snapshots import Keeper, Snapshots, snapshot_path
from jaxfid.extractors.inception.extractor import Extractor, make_inception_extractor
from jaxfid.extractors.weights import Weights, load_weights
from jaxfid.facts import facts_of_pass, require_agreement
from jaxfid.images.batches import Batches
from jaxfid.images.interface import ImageSource
from jaxfid.preprocessing.resize import reduce_on_host
from jaxfid.samples import Needs, Sample
from jaxfid.settings import Settings
from jaxfid.stats.files import Stats
from jaxfid.stats.moments import Moments

ROWS_PER_CPU_DEVICE, ROWS_PER_ACCELERATOR = 32, 256


class Sampler:
    """Sees the images of samples: one network for all of them, compiled once, when first needed.

    Args:
      settings: Protocol, weights, devices and so on.
      features: What the network has to give for any of the samples.
      largest: Images in the largest of them, which bounds the batch size.
    """

    def __init__(self, settings: Settings, *, features: frozenset[str], largest: int) -> None:
        self._settings = settings
        self._features = sorted(features)
        self._largest = largest
        self._times_seen: collections.Counter[str] = collections.Counter()

    @functools.cached_property
    def weights(self) -> Weights:
        """The network's weights."""
        network = self._settings.extractor
        return load_weights(self._settings.weights) if network is None else network.weights()

    def make_extractor(self, features: Sequence[str]) -> Extractor:
        """Returns the network as an extractor of the named features."""
        s = self._settings
        if s.extractor is not None:
            return s.extractor.make_extractor()
        return make_inception_extractor(
            self.weights, s.protocol, features=features, precision=s.precision
        )

    @functools.cached_property
    def _extractor(self) -> Extractor:
        return self.make_extractor(self._features)

    @functools.cached_property
    def _feature_pass(self) -> FeaturePass:
        return FeaturePass(self._extractor, local_mesh(self._settings.devices))

    def provenance(self) -> dict[str, Any]:
        """Returns what statistics made by this sampler depend on."""
        known = {
            "protocol": self._settings.protocol.name,
            "dims": self._settings.dims,
            "weights_name": self.weights.name,
            "weights_sha256": self.weights.sha256,
            "weights_official": self.weights.official,
            "precision": self._settings.precision,
        }
        network = self._settings.extractor
        return known if network is None else {**known, **network.facts()}

    def origin(self, sample: Sample) -> Origin:
        """Returns where the features of a set come from, or will come from."""
        main = sample.stats.get(str(self._settings.dims))
        if main is None:
            return Origin(sample.name, self._settings.dims, self.provenance())
        return Origin(sample.name, len(main.mean), main.provenance)

    def complete(
        self, sample: Sample, needs: Needs, *, blocks: int = 1, stays: bool = True
    ) -> Sample:
        """Returns the sample with all that is needed of it, its images seen where they must be.

        Args:
          sample: The set as it was opened.
          needs: What to keep of it.
          blocks: Into how many blocks its moments are dealt, for error bars.
          stays: Whether the finished set is kept where `resume` says, for later runs.

        Raises:
          InputError: There are no images to see; one cannot be read, and `on_error` is "fail"; or fewer
            than two can.
        """
        missing = sample.missing(needs)
        if not missing.all():
            return sample
        if sample.source is None:
            wanted = ", ".join(sorted(missing.all()))
            raise InputError(
                f"{sample.name}: the metrics asked for need its images (features {wanted}), and a "
                "statistics file does not hold them"
            )
        return self._see(sample, sample.source, missing, blocks, stays)

    def _see(
        self, sample: Sample, source: ImageSource, needs: Needs, blocks: int, stays: bool
    ) -> Sample:
        s, group = self._settings, process_group()
        # Before the devices start, which is a meeting of all processes that nobody can leave.
        require_agreement(s, [sample], weights=self.weights)
        mesh, batch_size = self._feature_pass.mesh, self._batch_size()
        # Other batches would be other shares; and what gathers counts on as many devices everywhere.
        group.require_agreement({"batch size": batch_size, "devices": jax.local_device_count()})
        widths = self._extractor.widths
        moments = {
            name: make_moments(name, widths[name], mesh, num_blocks=blocks, sums=s.sums)
            for name in sorted(needs.moments)
        }
        stores = {name: FeatureStore(name) for name in sorted(needs.features)}
        kept = [*moments.values(), *stores.values()]
        cut = {"batch size": batch_size, "blocks": blocks}
        names = {"moments of": sorted(moments), "features kept": sorted(stores)}
        snapshots = self._snapshots(source, kept, facts={**cut, **names}, stays=stays)
        batches = Batches(
            source,
            batch_size=batch_size,
            num_workers=s.num_workers,
            on_error=s.on_error,
            reduce=functools.partial(reduce_on_host, protocol=s.protocol),
            share=(group.index, group.count),
            start=snapshots.next_batch,
        )
        done = snapshots.next_batch * batch_size // group.count
        with self._progress(source, done) as bar:
            followed = group.watch(snapshots.follow(batches))
            run_pass(self._feature_pass, followed, kept, advance=bar.update)
        dealt = {name: group.total(kept.moments()) for name, kept in moments.items()}
        skipped = skipped_of_all(group, snapshots.skipped, source)
        return dataclasses.replace(
            sample,
            stats={**sample.stats, **{n: self._stats(source, b) for n, b in dealt.items()}},
            blocks=dealt,
            features={name: features_of_all(group, store) for name, store in stores.items()},
            skipped=[dataclasses.asdict(s) for s in skipped],
        )

    def _snapshots(
        self, source: ImageSource, kept: Sequence[Keeper], facts: Mapping[str, Any], *, stays: bool
    ) -> Snapshots:
        """What an earlier run of this set has left, and where this one leaves its own."""
        s, group = self._settings, process_group()
        if s.resume is None:
            return Snapshots(None, {}, kept, every_s=s.resume_every_s)
        times = self._times_seen[source.name] = self._times_seen[source.name] + 1
        name = source.name if times == 1 else f"{source.name} ({times})"
        path = snapshot_path(s.resume, name, process=group.index)
        share = {"processes": group.count, "process": group.index}
        identity = {**facts_of_pass(s, self.weights, source), **facts, **share}
        return Snapshots(path, identity, kept, every_s=s.resume_every_s, stays=stays)

    def _stats(self, source: ImageSource, blocks: Moments) -> Stats:
        moments = blocks.total_over(0)
        count = int(moments.count)
        if count < 2:
            raise InputError(f"{source.name}: a covariance needs at least 2 images, found {count}")
        provenance = {**self.provenance(), "source": source.name, "versions": versions()}
        return Stats(moments.mean(), moments.cov(), count, provenance)

    def _batch_size(self) -> int:
        """What was asked for or fits the devices; no larger than a set, a multiple of the devices."""
        mesh = self._feature_pass.mesh
        num_devices = mesh.size * process_group().count
        rows = ROWS_PER_CPU_DEVICE if is_cpu(mesh) else ROWS_PER_ACCELERATOR
        wanted = min(self._settings.batch_size or rows * num_devices, self._largest)
        return -(-wanted // num_devices) * num_devices

    @contextlib.contextmanager
    def _progress(self, source: ImageSource, done: int) -> Iterator[Any]:
        """A bar of this process's share."""
        share, hidden = -(-len(source) // process_group().count), not self._settings.progress
        about = {"desc": source.name, "unit": " images", "disable": hidden}
        with tqdm(total=share, initial=min(done, share), **about) as bar:
            yield bar
