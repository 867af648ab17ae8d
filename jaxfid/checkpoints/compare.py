"""Compares the checkpoints of a run, or sets that were sampled before, against one reference."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from jaxfid.checkpoints.defaults import CHUNK_SIZE, NUM_IMAGES
from jaxfid.checkpoints.find import Checkpoint, find_checkpoints, find_sets
from jaxfid.checkpoints.run import OnEntry, Series
from jaxfid.checkpoints.sampling import MakeSample, draw_from, load_sampler
from jaxfid.checkpoints.watch import Watch
from jaxfid.errors import InputError
from jaxfid.extraction.image_set import Images, ImageSet, open_image_set
from jaxfid.preprocessing.value_range import ValueRange
from jaxfid.report.run_folder import Entry
from jaxfid.settings import Settings, SettingsDict

Location = str | os.PathLike[str]


def compare_checkpoints(
    reference: Images,
    checkpoints: Sequence[Location],
    sampler: str | MakeSample,
    *,
    out: Location,
    num_images: int = NUM_IMAGES,
    chunk_size: int = CHUNK_SIZE,
    value_range: ValueRange | None = None,
    watch: Watch | None = None,
    on_entry: OnEntry = lambda entry: None,
    **settings: Unpack[SettingsDict],
) -> list[Entry]:
    """Returns every checkpoint's scores against the reference, in the order of the steps.

    Image `i` is drawn from the same noise for every checkpoint, whatever the devices and the batch size,
    so that differences are those of pairs. What is finished is kept in `out`; started again, a killed
    comparison goes on where it was.

    Args:
      reference: As in `compute_fid`.
      checkpoints: Folders of checkpoints or checkpoints, as `find_checkpoints` takes them.
      sampler: From a checkpoint's path to `sample(key, n) -> images`; or its name, `module:function`.
      out: Folder of the results.
      num_images: How many images to draw from each.
      chunk_size: Images per call of `sample`; other chunks are other noise.
      value_range: What black and white are in floating images; None for uint8.
      watch: How to go on as new checkpoints are written; None ends with those that are there.
      on_entry: Called with each checkpoint's entry as soon as it is finished.
      **settings: Fields of `Settings`; `seed` is also that of the noise, and `resume` is in `out`.

    Raises:
      InputError: An argument, a file or an image is not what it should be, or `out` holds another run.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    choices = _choose(out, settings)
    make_sample = load_sampler(sampler) if isinstance(sampler, str) else sampler

    def open_set(checkpoint: Checkpoint) -> ImageSet:
        source = draw_from(
            checkpoint,
            make_sample,
            num_images=num_images,
            seed=choices.features.seed,
            chunk_size=chunk_size,
            value_range=value_range,
            num_devices=choices.runtime.devices,
        )
        return ImageSet(source.name, source)

    drawn = {
        "sampler": _name(make_sample),
        "number of images": num_images,
        "seed": choices.features.seed,
        "chunk size": chunk_size,
        "value range": value_range,
    }

    def find() -> list[Checkpoint]:
        there = checkpoints if watch is None else [c for c in checkpoints if Path(c).exists()]
        return find_checkpoints(there)

    if watch is None and not find():
        raise InputError(f"checkpoints: found none in {', '.join(map(str, checkpoints))}")
    series = Series(reference, choices, out, open_set, drawn, largest=num_images)
    return series.run(find, watch=watch, on_entry=on_entry)


def compare_samples(
    reference: Images,
    samples: Sequence[Location],
    *,
    out: Location,
    on_entry: OnEntry = lambda entry: None,
    **settings: Unpack[SettingsDict],
) -> list[Entry]:
    """Returns the scores of sets that were sampled before, in the order of the steps in their names.

    Args:
      reference: As in `compute_fid`.
      samples: Paths to images or statistics, each a set.
      out: Folder of the results.
      on_entry: Called with each set's entry as soon as it is finished.
      **settings: Fields of `Settings`; `resume` is in `out`.

    Raises:
      InputError: An argument or a file is not what it should be, or `out` holds another run.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    choices = _choose(out, settings)
    found = find_sets(samples)
    limit, seed = choices.features.limit, choices.features.seed
    opened = {c.name: open_image_set(c.path, limit=limit, seed=seed) for c in found}
    largest = max((len(s.source) for s in opened.values() if s.source is not None), default=1)
    drawn = {"limit": limit, "seed": seed}
    series = Series(reference, choices, out, lambda c: opened[c.name], drawn, largest=largest)
    return series.run(lambda: found, on_entry=on_entry)


def _choose(out: Location, settings: SettingsDict) -> Settings:
    progress = settings.get("resume") or Path(out) / "progress"
    return Settings(**{**settings, "resume": progress})


def _name(make_sample: MakeSample) -> str:
    name = getattr(make_sample, "__qualname__", type(make_sample).__qualname__)
    return f"{make_sample.__module__}:{name}"
