"""One comparison: sets scored one after another against one reference, into the folder of a run."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jaxfid.checkpoints.find import Checkpoint
from jaxfid.checkpoints.following import share_entries
from jaxfid.checkpoints.queue import Queue
from jaxfid.checkpoints.sampler_calls import SamplerError
from jaxfid.checkpoints.watch import Watch
from jaxfid.distributed.group import process_group
from jaxfid.distributed.heartbeat import LostProcessError
from jaxfid.errors import InputError, JaxfidError
from jaxfid.extraction.image_set import ExtractedSet, Images, ImageSet, open_image_set
from jaxfid.extraction.snapshots import snapshot_path
from jaxfid.extractors.interface import INCEPTION
from jaxfid.metrics.manifold import compute_manifold
from jaxfid.metrics.pair import SetPair
from jaxfid.report.entries import Entry, Picture
from jaxfid.report.pictures import Album, keep_extremes
from jaxfid.report.run_folder import RunFolder
from jaxfid.report.tables import format_csv, format_json
from jaxfid.scoring.agreement import identify_image_set, require_agreement
from jaxfid.scoring.description import make_result
from jaxfid.scoring.evaluation import Evaluation, Prepared
from jaxfid.settings import Settings

OpenSet = Callable[[Checkpoint], ImageSet]
"""From a checkpoint to its images, statistics or features."""

OnEntry = Callable[[Entry], Any]

_WITH_REALISM = frozenset({"precision", "recall", "density", "coverage"})
"""Metrics that find the realism of every image on their way."""


class _Begun(NamedTuple):
    """A set whose first images are known to be there.

    Attributes:
      opened: The set.
      album: Where its pictures go; None where it has no images.
      pictures: Those that are there already.
    """

    opened: ImageSet
    album: Album | None = None
    pictures: Mapping[str, Sequence[Picture]] = {}


class Series:
    """A reference made ready, and the folder where the scores against it go."""

    def __init__(
        self,
        reference: Images,
        settings: Settings,
        folder: RunFolder,
        open_set: OpenSet,
        drawn: Mapping[str, Any],
        *,
        largest: int,
        draws: bool,
    ) -> None:
        """Checks all that can be checked before an image is seen.

        Args:
          reference: As in `compute_fid`.
          settings: Metrics, protocol, weights and so on; `resume` says where progress is kept.
          folder: The folder of the run, held while this one runs.
          open_set: From a checkpoint to its images or statistics.
          drawn: What the images of the sets depend on besides the checkpoint.
          largest: Images in the largest set.
          draws: Whether the sets are drawn from checkpoints, and were not sampled before.

        Raises:
          InputError: The folder holds another run, or the reference cannot be scored against.
        """
        opened = open_image_set(reference, **settings.features.opening(reference=True))
        # Before the devices start, which is a meeting of all processes that nobody can leave.
        require_agreement(settings, [opened])
        process_group().require_agreement(dict(drawn))
        self._opened, self._open, self._draws = opened, open_set, draws
        self._resume = settings.runtime.resume
        self._under_way: set[str] = set()
        self._evaluation = Evaluation(settings, [opened], largest=largest)
        self._notes = self._evaluation.check(opened)
        self._reference: Prepared | None = None
        self._folder = folder
        self._folder.begin(_identify(opened) | dict(drawn) | self._evaluation.describe())
        share_entries(self._folder)
        self._reference_album = None
        if opened.source is not None:
            self._reference_album = Album(self._folder, opened.source, "reference")

    def run(
        self,
        find: Callable[[], Sequence[Checkpoint]],
        *,
        watch: Watch | None = None,
        on_entry: OnEntry = lambda entry: None,
        fail_fast: bool = False,
        before_waiting: Callable[[], None] = lambda: None,
    ) -> list[Entry]:
        """Scores what is found and not finished, lowest step first; returns all entries.

        Args:
          find: Called again after each, as checkpoints come and go.
          watch: How to wait for more; None ends when none is left.
          on_entry: Called with each entry when it is finished.
          fail_fast: Whether a checkpoint that cannot be sampled ends the comparison; otherwise its entry
            says why, and the others go on.
          before_waiting: Called when nothing is left to do for now.

        Raises:
          SamplerError: A checkpoint cannot be sampled, with `fail_fast`.
        """
        queue = Queue(find, self._folder, watch=watch, before_waiting=before_waiting)
        while (checkpoint := queue.next()) is not None:
            entry = self._score(checkpoint, fail_fast=fail_fast)
            if entry is not None:
                self._keep(entry)
                on_entry(entry)
        return self._folder.entries

    def _score(self, checkpoint: Checkpoint, *, fail_fast: bool) -> Entry | None:
        """The checkpoint's entry; None where it was deleted before it could be loaded."""
        began, stamp = time.monotonic(), checkpoint.stamp()
        try:
            # A sampler's mistakes come up here, before the reference goes through the network.
            with process_group().attempt():
                begun = self._begin(checkpoint)
        except JaxfidError as error:
            return self._fail(checkpoint, stamp, began, error, fail_fast=fail_fast)
        before = time.monotonic()
        reference = self._see_reference()
        began += time.monotonic() - before  # which is no checkpoint's time
        try:
            with process_group().attempt():
                fields = self._see(begun, reference)
        except JaxfidError as error:
            return self._fail(checkpoint, stamp, began, error, fail_fast=fail_fast)
        return _make_entry(checkpoint, stamp, began, fields)

    def _fail(
        self,
        checkpoint: Checkpoint,
        stamp: str | None,
        began: float,
        error: JaxfidError,
        *,
        fail_fast: bool,
    ) -> Entry | None:
        """The entry of a failure, such as images that are not finite: the others may be better."""
        if isinstance(error, LostProcessError):
            raise error
        gone = isinstance(error, SamplerError) and not checkpoint.path.exists()
        # A wrong argument of a drawing holds for every checkpoint. What is wrong with a set that was
        # sampled before is wrong with that set.
        is_fatal = fail_fast or (self._draws and isinstance(error, InputError))
        if is_fatal and not gone and self._folder.writes:
            raise error
        if process_group().tell("gone" if gone else "failed") == "gone":
            return None
        return _make_entry(checkpoint, stamp, began, {"failure": str(error)})

    def _begin(self, checkpoint: Checkpoint) -> _Begun:
        """The checkpoint's set, and the first of its pictures."""
        opened = dataclasses.replace(self._open(checkpoint), name=checkpoint.name)
        if opened.source is None:
            return _Begun(opened)
        # Pictures pass over images that cannot be read, and no image is left out here.
        if self._draws and (self._folder.writes or opened.source.jointly):
            opened.source.read(0)
        # Before the pass, which begins with the chunk that these come from.
        album = Album(self._folder, opened.source, checkpoint.name)
        first = album.keep_first()
        self._under_way.add(opened.name)
        return _Begun(opened, album, {"first": first})

    def _see(self, begun: _Begun, reference: Prepared) -> dict[str, Any]:
        # The entry is kept, so that of the finished set no snapshot is needed.
        generated = self._evaluation.extract_generated(begun.opened, keep_finished=False)
        pairs = self._evaluation.pairs(
            reference, generated, realism=self._reference_album is not None
        )
        scores = self._evaluation.score(reference, generated, self._notes, pairs=pairs)
        pictures = begun.pictures
        if begun.album is not None:
            found = self._keep_extremes(pairs, reference.image_set, generated, begun.album)
            pictures = {**pictures, **found}
        return {"scores": scores, "pictures": pictures}

    def _see_reference(self) -> Prepared:
        # The first time it goes through the network here.
        if self._reference is None:
            self._reference = self._evaluation.extract_reference(self._opened)
        if not self._folder.provenance:
            about = make_result(self._evaluation.plan, self._reference.image_set, [])
            album = self._reference_album
            self._folder.describe(about, [] if album is None else album.keep_spread())
        return self._reference

    def _keep_extremes(
        self,
        pairs: Mapping[str, SetPair],
        reference: ExtractedSet,
        generated: ExtractedSet,
        album: Album,
    ) -> Mapping[str, Sequence[Picture]]:
        """Pictures by realism, where a metric was asked for that has found it already."""
        name = INCEPTION if INCEPTION in pairs else next(iter(pairs))
        asked = {spec.name for spec in self._evaluation.plan.specs[name]}
        if self._reference_album is None or not asked & _WITH_REALISM:
            return {}
        realism = pairs[name].once(compute_manifold).realism
        if realism is None:  # too few images for its balls, or recall alone was asked for
            return {}
        real, drawn = pairs[name].vectors
        return keep_extremes(
            realism,
            (album, drawn, _keys(generated)),
            (self._reference_album, real, _keys(reference)),
        )

    def _keep(self, entry: Entry) -> None:
        self._folder.add(entry)
        self._folder.write("results.csv", format_csv(self._folder.entries))
        self._folder.write("results.json", format_json(self._folder))
        # What was kept for going on within the set is as large as its features.
        while self._under_way and self._resume is not None:
            name = self._under_way.pop()
            path = snapshot_path(self._resume, name, process=process_group().index)
            path.unlink(missing_ok=True)


def _make_entry(
    checkpoint: Checkpoint, stamp: str | None, began: float, fields: Mapping[str, Any]
) -> Entry:
    return Entry(
        checkpoint.name,
        checkpoint.step,
        stamp or "",
        round(time.monotonic() - began, 3),
        run=checkpoint.run,
        noise_seed=checkpoint.noise_seed,
        swept=checkpoint.swept,
        **fields,
    )


def _keys(extracted: ExtractedSet) -> set[str]:
    """Keys of the files that were left out of a set."""
    return {skipped["key"] for skipped in extracted.skipped}


def _identify(reference: ImageSet) -> dict[str, Any]:
    return {f"reference {name}": value for name, value in identify_image_set(reference).items()}
