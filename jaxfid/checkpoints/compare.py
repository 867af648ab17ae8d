"""Compares the checkpoints of a run, or sets that were sampled before, against one reference."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

from jaxfid.checkpoints.defaults import CHUNK_SIZE, NUM_IMAGES, SamplerPlacement
from jaxfid.checkpoints.drawing import Drawing
from jaxfid.checkpoints.find import Checkpoint, find_checkpoints, find_sets
from jaxfid.checkpoints.following import hold_folder
from jaxfid.checkpoints.labels import LabelsLike, read_labels
from jaxfid.checkpoints.placements import check_chunk_size, check_placement
from jaxfid.checkpoints.run import OnEntry, Series
from jaxfid.checkpoints.sampler_arguments import ConfiguredSampler
from jaxfid.checkpoints.sampler_identity import describe_arguments, describe_sampler
from jaxfid.checkpoints.sampling import load_sampler
from jaxfid.checkpoints.sweep import Axes, Sweep, check_noise_seeds, check_sweep, combine, repeat
from jaxfid.checkpoints.watch import Watch
from jaxfid.distributed.group import one_evaluation, process_group
from jaxfid.errors import InputError
from jaxfid.extraction.image_set import Images, open_image_set
from jaxfid.preprocessing.value_range import ValueRange
from jaxfid.report.entries import Entry
from jaxfid.settings import Settings, SettingsDict
from jaxfid.storage.paths import as_path, match_paths

Location = str | os.PathLike[str]


@one_evaluation
def compare_checkpoints(
    reference: Images,
    checkpoints: Sequence[Location],
    sampler: str | Callable[..., Any],
    *,
    out: Location,
    num_images: int = NUM_IMAGES,
    chunk_size: int = CHUNK_SIZE,
    value_range: ValueRange | None = None,
    sampler_placement: SamplerPlacement = "process",
    watch: Watch | None = None,
    step_pattern: str | None = None,
    labels: LabelsLike | None = None,
    sampler_args: Mapping[str, Any] | None = None,
    sweep: Sweep | None = None,
    noise_seeds: Sequence[int] | None = None,
    sampler_id: str | None = None,
    fail_fast: bool = False,
    on_entry: OnEntry = lambda entry: None,
    **settings: Unpack[SettingsDict],
) -> list[Entry]:
    """Returns every checkpoint's scores against the reference, in the order of the steps.

    Image `i` is drawn from the same noise for every checkpoint, whatever the devices and the batch size,
    so that differences are those of pairs. What is finished is kept in `out`; started again, a killed
    comparison goes on where it was.

    Args:
      reference: As in `compute_fid`.
      checkpoints: Folders of checkpoints or checkpoints, as `find_checkpoints` takes them. Several folders
        are several training runs of one model, whose checkpoints of one step are its replicates.
      sampler: From a checkpoint's path to `sample(key, n) -> images`; or its name, `module:function`.
        With labels it is called as `sample(key, labels)`.
      out: Folder of the results.
      num_images: How many images to draw from each.
      chunk_size: Images per call of `sample`; other chunks are other noise.
      value_range: What black and white are in floating images; None for uint8.
      sampler_placement: Who calls the sampler: each "process" once for its chunks, each "device" by itself,
        or all processes together, "global", for a model that is sharded over all of them.
      watch: How to go on as new checkpoints are written; None ends with those that are there.
      step_pattern: A regular expression that finds steps in names, as `find_checkpoints` takes it.
      labels: The class of each image, the same for every checkpoint: `balanced:1000` gives image `i` the
        class `i` modulo 1000; or an `.npy` file of whole numbers, or such numbers. Error bars are then
        those of a sample with fixed numbers of each class.
      sampler_args: Further arguments of the sampler by name. One that `make_sample` takes goes to it,
        `make_sample(path, **args)`; any other goes to every call, `sample(key, n, **args)`.
      sweep: Several values of some arguments, `{"cfg": [1.0, 1.5]}`, by the same rule. Each checkpoint gets a
        row for every combination; it is loaded once for all values of what only calls take.
      noise_seeds: Draw each checkpoint once from each of these seeds, which are the same for all; what one
        checkpoint's draws differ by is sampling alone. None draws once, from `seed`.
      sampler_id: A name of your own for all that the sampler depends on, by which it is known again; where
        it is a closure, a lambda or an object, whose values no source shows.
      fail_fast: Whether a checkpoint that cannot be sampled ends the comparison; otherwise its entry
        says why, and the others go on.
      on_entry: Called with each checkpoint's entry as soon as it is finished.
      **settings: Fields of `Settings`; `seed` is also that of the noise, and `resume` is in `out`.

    Raises:
      InputError: An argument, a file or an image is not what it should be, or `out` holds another run, or
        another process is writing there.
      SamplerError: A checkpoint cannot be sampled, with `fail_fast`.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    choices = _choose(out, settings)
    seeds = _choose_noise_seeds(noise_seeds, settings)
    make_sample = load_sampler(sampler) if isinstance(sampler, str) else sampler
    axes = check_sweep(sweep or {})
    configured = ConfiguredSampler(make_sample, sampler_args or {}, [*axes])
    drawing = Drawing(
        configured,
        _identify(sampler, sampler_id, sampler_args, axes),
        None if labels is None else read_labels(labels, num_images),
        num_images=num_images,
        chunk_size=chunk_size,
        value_range=value_range,
        seed=choices.features.seed,
        num_devices=choices.runtime.devices,
        placement=check_placement(sampler_placement),
    )
    check_chunk_size(drawing.placement, chunk_size)
    drawn = drawing.describe(has_noise_seeds=seeds is not None)

    def find() -> list[Checkpoint]:
        there = checkpoints if watch is None else [c for c in checkpoints if _is_there(c)]
        found = find_checkpoints(there, step_pattern)
        return repeat(found, combine(axes, configured.making), seeds or [None])

    if process_group().index == 0 and watch is None and not find():
        raise _found_none(checkpoints)
    with hold_folder(out) as folder:
        series = Series(
            reference, choices, folder, drawing.open, drawn, largest=num_images, draws=True
        )
        return series.run(
            find,
            watch=watch,
            on_entry=on_entry,
            fail_fast=fail_fast,
            before_waiting=configured.release,
        )


@one_evaluation
def compare_samples(
    reference: Images,
    samples: Sequence[Location],
    *,
    out: Location,
    step_pattern: str | None = None,
    on_entry: OnEntry = lambda entry: None,
    **settings: Unpack[SettingsDict],
) -> list[Entry]:
    """Returns the scores of sets that were sampled before, in the order of the steps in their names.

    Args:
      reference: As in `compute_fid`.
      samples: Paths to images or statistics, each a set.
      out: Folder of the results.
      step_pattern: A regular expression that finds steps in names, as `find_checkpoints` takes it.
      on_entry: Called with each set's entry as soon as it is finished.
      **settings: Fields of `Settings`; `resume` is in `out`.

    Raises:
      InputError: An argument or a file is not what it should be, or `out` holds another run.
      WeightsUnavailableError: The weights are neither here nor to be fetched.
    """
    choices = _choose(out, settings)
    found = find_sets(samples, step_pattern)
    opening = choices.features.opening()
    # All are opened first, so that a wrong path ends the command before hours of scoring.
    opened = {c.name: open_image_set(c.path, **opening) for c in found}
    largest = max((len(s.source) for s in opened.values() if s.source is not None), default=1)
    drawn: dict[str, object] = {**opening}
    with hold_folder(out) as folder:
        series = Series(
            reference,
            choices,
            folder,
            lambda c: opened[c.name],
            drawn,
            largest=largest,
            draws=False,
        )
        return series.run(lambda: found, on_entry=on_entry)


def _choose_noise_seeds(
    noise_seeds: Sequence[int] | None, settings: SettingsDict
) -> tuple[int, ...] | None:
    if noise_seeds is None:
        return None
    seeds = check_noise_seeds(noise_seeds)
    if "seed" in settings:
        raise InputError("seed: expected none beside noise_seeds, which take its place")
    return seeds


def _found_none(checkpoints: Sequence[Location]) -> InputError:
    return InputError(
        f"checkpoints: found none in {', '.join(map(str, checkpoints))}; --step-pattern says "
        "which names are checkpoints"
    )


def _identify(
    sampler: str | Callable[..., Any],
    sampler_id: str | None,
    sampler_args: Mapping[str, Any] | None,
    axes: Axes,
) -> dict[str, object]:
    """What a comparison that goes on has to have alike; only what is there, as older folders have it."""
    identity: dict[str, object] = {"sampler": describe_sampler(sampler, sampler_id)}
    if sampler_args:
        identity["sampler argument"] = describe_arguments(sampler_args)
    if axes:  # the values are those of each row, and more may come
        identity["sweep over"] = sorted(axes)
    return identity


def _is_there(location: Location) -> bool:
    return any(path.exists() for path in match_paths(location))


def _choose(out: Location, settings: SettingsDict) -> Settings:
    progress = settings.get("resume") or str(as_path(out) / "progress")
    return Settings(**{**settings, "resume": progress})
