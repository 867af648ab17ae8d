"""A series of sets, scored one after another against one reference into the folder of a run."""

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxfid.checkpoints.find import Checkpoint
from jaxfid.checkpoints.watch import Watch
from jaxfid.errors import InputError, JaxfidError
from jaxfid.extraction.snapshots import snapshot_path
from jaxfid.images.identity import identify_source
from jaxfid.report.pictures import Album, keep_extremes
from jaxfid.report.run_folder import Entry, Picture, RunFolder
from jaxfid.report.tables import format_csv, format_json
from jaxfid.samples import Images, Sample, open_images
from jaxfid.scorer import Scorer
from jaxfid.scores import POOL3, Pair
from jaxfid.settings import Settings

OF_THE_SCORES = ("metrics", "splits", "kid_subset_size", "blocks", "on_error")
"""Settings that all scores of a series have in common, besides those of the features."""

_OF_REALISM = {"precision", "recall", "density", "coverage"}

OnEntry = Callable[[Entry], Any]
OpenSet = Callable[[Checkpoint], Sample]


class Series:
    """A reference made ready, and the folder where the scores against it go."""

    def __init__(
        self,
        reference: Images,
        settings: Settings,
        out: str | os.PathLike[str],
        open_set: OpenSet,
        drawn: Mapping[str, Any],
        *,
        largest: int,
    ) -> None:
        """Checks all that can be checked before an image is seen.

        Args:
          reference: As in `compute_fid`.
          settings: Metrics, protocol, weights and so on; `resume` says where progress is kept.
          out: The folder of the run.
          open_set: From a checkpoint to its images or statistics.
          drawn: What the images of the sets depend on besides the checkpoint.
          largest: Images in the largest set.

        Raises:
          InputError: The folder holds another run, or the reference cannot be scored against.
        """
        opened = open_images(reference, settings)
        if opened.source is not None:
            largest = max(largest, len(opened.source))
        self._settings, self._open = settings, open_set
        self._under_way: set[str] = set()
        self._scorer = Scorer(opened, settings, largest=largest)
        self._notes = self._scorer.check(Sample("the samples"))
        facts = {name: getattr(settings, name) for name in OF_THE_SCORES}
        facts |= self._scorer.sampler.provenance()
        self._folder = RunFolder(out)
        self._folder.begin(_identify(opened) | dict(drawn) | facts)
        self._reference_album = None
        if opened.source is not None:
            self._reference_album = Album(self._folder, opened.source, "reference")

    def run(
        self,
        find: Callable[[], Sequence[Checkpoint]],
        *,
        watch: Watch | None = None,
        on_entry: OnEntry = lambda entry: None,
    ) -> list[Entry]:
        """Scores what is found and not finished, lowest step first; returns all entries.

        Args:
          find: Called again after each, as checkpoints come and go.
          watch: How to wait for more; None ends when none is left.
          on_entry: Called with each entry when it is finished.
        """
        tried: set[tuple[str, str | None]] = set()
        last = time.monotonic()
        while True:
            checkpoint = self._first_unfinished(find(), tried, watch)
            if checkpoint is not None:
                tried.add((checkpoint.name, checkpoint.stamp()))
                entry = self._score(checkpoint)
                if entry is not None:
                    self._keep(entry)
                    on_entry(entry)
                last = time.monotonic()
            elif watch is None or time.monotonic() - last > watch.timeout_s:
                return self._folder.entries
            else:
                time.sleep(watch.poll_s)

    def _first_unfinished(
        self, found: Sequence[Checkpoint], tried: set[tuple[str, str | None]], watch: Watch | None
    ) -> Checkpoint | None:
        for checkpoint in found:
            if watch is not None and not checkpoint.is_settled(watch.settle_s):
                continue
            stamp = checkpoint.stamp()
            finished = stamp is None or self._folder.is_finished(checkpoint.name, stamp)
            if not finished and (checkpoint.name, stamp) not in tried:
                return checkpoint
        return None

    def _score(self, checkpoint: Checkpoint) -> Entry | None:
        """The checkpoint's entry; None where it was deleted before it could be loaded."""
        self._see_reference()
        began, stamp = time.monotonic(), checkpoint.stamp()
        fields: dict[str, Any] = {}
        try:
            fields = self._see(checkpoint)
        except InputError:
            raise
        except JaxfidError as error:  # such as images that are not finite: the others may be better
            fields = {"failure": str(error)}
        except Exception:  # whatever the user's loader raises
            if checkpoint.path.exists():
                raise
            return None
        seconds = round(time.monotonic() - began, 3)
        return Entry(checkpoint.name, checkpoint.step, stamp or "", seconds, **fields)

    def _see(self, checkpoint: Checkpoint) -> dict[str, Any]:
        opened = dataclasses.replace(self._open(checkpoint), name=checkpoint.name)
        album, pictures = None, {}
        if opened.source is not None:
            # Before the pass, which begins with the chunk that these come from.
            album = Album(self._folder, opened.source, checkpoint.name)
            pictures["first"] = album.keep_first()
            self._under_way.add(opened.source.name)
        pair = self._scorer.pair(opened, stays=False)  # its entry stays
        scores = self._scorer.score(pair, self._notes)
        if album is not None:
            pictures |= self._keep_extremes(pair, album)
        return {"scores": scores, "pictures": pictures}

    def _see_reference(self) -> None:
        # The first time it goes through the network here, which no checkpoint's seconds are to hold.
        about = self._scorer.result([])
        if not self._folder.about:
            album = self._reference_album
            self._folder.describe(about, [] if album is None else album.keep_spread())

    def _keep_extremes(self, pair: Pair, album: Album) -> Mapping[str, Sequence[Picture]]:
        """Pictures by realism, where a metric was asked for that has found it already."""
        if self._reference_album is None or not _OF_REALISM & set(self._settings.metrics):
            return {}
        generated, reference = pair.generated, pair.reference.sample
        return keep_extremes(
            pair.manifold.realism,
            (album, generated.features[POOL3], _keys(generated)),
            (self._reference_album, reference.features[POOL3], _keys(reference)),
        )

    def _keep(self, entry: Entry) -> None:
        self._folder.add(entry)
        self._folder.write("results.csv", format_csv(self._folder.entries))
        self._folder.write("results.json", format_json(self._folder))
        # What was kept for going on within the set is as large as its features.
        while self._under_way:
            name = self._under_way.pop()
            snapshot_path(self._settings.resume, name, process=0).unlink(missing_ok=True)


def _keys(sample: Sample) -> set[str]:
    """Keys of the files that were left out of a set."""
    return {skipped["key"] for skipped in sample.skipped}


def _identify(reference: Sample) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, stats in sorted(reference.stats.items()):
        digest = hashlib.sha256(stats.mean.tobytes() + stats.cov.tobytes())
        facts[f"reference statistics of {name}"] = digest.hexdigest()
    if reference.source is not None:
        for name, fact in identify_source(reference.source).items():
            facts[f"reference {name}"] = fact
    return facts
