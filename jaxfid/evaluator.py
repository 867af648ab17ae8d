"""Scores of images that are on the devices already: behind a sampler, in a training loop."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self, Unpack

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, UInt8

from jaxfid.environment import versions
from jaxfid.errors import InputError
from jaxfid.extraction.array_moments import ArrayMoments, make_array_moments
from jaxfid.preprocessing.value_range import ValueRange, check_value_range
from jaxfid.result import SetResult
from jaxfid.sampler import Sampler
from jaxfid.samples import Images, Sample, open_images
from jaxfid.scorer import Scorer
from jaxfid.settings import EXTRACTOR_METRIC, Settings, SettingsDict
from jaxfid.stats.files import Stats
from jaxfid.stats.moments import Moments


@dataclasses.dataclass(frozen=True, eq=False)
class _Plan:
    """All of an evaluator but its network; equal to itself alone, so that JAX can compile for it.

    Attributes:
      provenance: What the statistics depend on.
      scorer: The reference made ready, if there is one.
      notes: What has to be said of a comparison with it.
    """

    provenance: Mapping[str, Any]
    scorer: Scorer | None
    notes: Sequence[str]


@jax.tree_util.register_pytree_node_class
class Evaluator:
    """Scores the images that a JAX program makes; they never visit the host.

        evaluator = jaxfid.Evaluator("cifar10-train.npz", value_range=(-1, 1))

        @jax.jit
        def score_more(evaluator, state, key):
            return evaluator.update(state, sample(key))

        state = evaluator.init()
        for key in jax.random.split(jax.random.key(0), 200):
            state = score_more(evaluator, state, key)
        print(evaluator.compute(state))

    `init`, `features` and `update` may be used inside `jit`, `scan`, `shard_map` and `pmap`. A state
    is a pytree of float64 sums; `a + b` is the images of both, and `jax.lax.psum` adds those of all
    devices. Saved and loaded, as NumPy arrays, it goes on as `evaluator.init() + loaded`.

    An evaluator is a pytree of the network's weights: give it to compiled functions as an argument, as
    above. A function that closes over it works as well, but JAX then writes the weights into the
    program: on a CPU this took 3.1 s to compile instead of 1.3, and 230 MB. On several devices,
    `jax.device_put(evaluator, NamedSharding(mesh, PartitionSpec()))` places the weights once.

    Each shape of images compiles once: pad the last batch and leave the padding out with `mask`.
    """

    def __init__(
        self,
        reference: Images | None = None,
        *,
        value_range: ValueRange | None = None,
        quantize: bool = True,
        **settings: Unpack[SettingsDict],
    ) -> None:
        """Loads the weights, and sees the reference's images if it is not statistics already.

        Args:
          reference: What to score against, as in `compute_fid`; None to make statistics alone.
          value_range: What black and white are in floating images: (-1, 1), (0, 1) or (0, 255). None
            allows images of uint8 alone, which are in 0..255 whatever it is.
          quantize: Whether floating images are rounded to the 256 levels of a file, as papers do before
            they score: `floor(x * 127.5 + 128)`, clipped, for -1..1, and likewise for the other ranges.
            Their gradient is that of the values before they were rounded.
          **settings: Fields of `Settings`. Of an update, `batch_size` images go through the network at
            once; `blocks` are for the error bar, and each makes a state 33 MB larger at 2048 features.
            What is about reading images is about those of the reference.

        Raises:
          InputError: An argument is not what it should be, or the reference was made otherwise.
          WeightsUnavailableError: The weights are neither here nor to be fetched.
        """
        choices = Settings(**settings)
        if choices.metrics not in (("fid",), (EXTRACTOR_METRIC,)):
            raise InputError(
                "metrics: an evaluator keeps sums of features, which give fid alone; "
                f"found {', '.join(choices.metrics)}"
            )
        value_range = check_value_range(value_range)
        scorer, sampler = _open_reference(reference, choices)
        feature = str(choices.dims)
        self._network = make_array_moments(
            sampler.make_extractor((feature,)),
            feature,
            value_range=value_range,
            quantize=quantize,
            num_blocks=choices.blocks,
            batch_size=choices.batch_size,
            sums=choices.sums,
        )
        pixels = {"value_range": value_range, "quantize": quantize}
        provenance = {**sampler.provenance(), **pixels, "versions": versions()}
        notes = [] if scorer is None else scorer.check(Sample("the evaluator"))
        if scorer is not None:
            scorer.reference.factor(feature)  # now, not in the middle of a training
        self._plan = _Plan(provenance, scorer, notes)

    def init(self) -> Moments:
        """Returns the state of no images."""
        return self._network.init()

    def update(
        self,
        state: Moments,
        images: UInt8[Array, "n h w 3"] | Float[Array, "n h w 3"],
        mask: Bool[Array, " n"] | None = None,
    ) -> Moments:
        """Returns the state with further images.

        Args:
          state: From `init` or an earlier update.
          images: Any number of them, on any devices, of any one size.
          mask: True where there is an image; None where there is one in every row.

        Raises:
          InputError: An argument is not what it should be; or the devices have no float64 (TPUs) and this
            is the inside of a compiled function. There, return `features(images)` from it, and call
            `update_from_features` outside, which adds them to sums on the host.
        """
        return self.update_from_features(state, self.features(images), mask)

    def features(
        self, images: UInt8[Array, "n h w 3"] | Float[Array, "n h w 3"]
    ) -> Float32[Array, "n d"]:
        """Returns the features of the images, differentiable in floating ones.

        Raises:
          InputError: The images have another shape or type, or their range is not known.
        """
        return self._network.features(images)

    def update_from_features(
        self, state: Moments, features: Float32[Array, "n d"], mask: Bool[Array, " n"] | None = None
    ) -> Moments:
        """Returns the state with further images, whose features are given; else as `update`."""
        return self._network.update(state, features, mask)

    def stats(self, state: Moments) -> Stats:
        """Returns mean, covariance, count and provenance, as `compute_stats` does, for `save_stats`.

        Args:
          state: Further leading axes, as of states of several devices, are added up.

        Raises:
          InputError: There are fewer than two images, or features that are not finite.
        """
        moments = _blocks(state).total_over(0)
        if not np.isfinite(moments.total).all():
            raise InputError(
                "state: features are NaN or infinite; an image of the samples was, or the network overflowed"
            )
        cov = moments.cov()
        return Stats(moments.mean(), cov, int(moments.count), self._plan.provenance)

    def compute(self, state: Moments, *, name: str = "generated") -> SetResult:
        """Returns the FID of all images so far, as `compute_metrics` gives it of a set.

        With its error bar, where they are enough (see `Settings.blocks`), which costs a solve per block.

        Args:
          state: Further leading axes, as of states of several devices, are added up.
          name: What the result calls the images.

        Raises:
          InputError: There is no reference; or as in `stats`.
        """
        scorer = self._plan.scorer
        if scorer is None:
            raise InputError("reference: none was given; `stats` needs none")
        feature = self._network.feature
        generated = Sample(name, {feature: self.stats(state)}, {feature: _blocks(state)})
        return scorer.score(scorer.pair(generated), self._plan.notes)

    def tree_flatten(self) -> tuple[tuple[ArrayMoments], _Plan]:
        """Returns the network, and what JAX compiles for."""
        return (self._network,), self._plan

    @classmethod
    def tree_unflatten(cls, plan: _Plan, children: tuple[ArrayMoments]) -> Self:
        """Returns the evaluator of these parts."""
        evaluator = object.__new__(cls)
        (evaluator._network,), evaluator._plan = children, plan
        return evaluator


def _open_reference(reference: Images | None, settings: Settings) -> tuple[Scorer | None, Sampler]:
    if reference is None:
        return None, Sampler(settings, features=frozenset(), largest=1)
    opened = open_images(reference, settings)
    largest = 1 if opened.source is None else len(opened.source)
    scorer = Scorer(opened, settings, largest=largest)
    return scorer, scorer.sampler


def _blocks(state: Moments) -> Moments:
    """Returns the state on the host with the blocks as its one leading axis."""
    moments = jax.device_get(state)  # explicit, which a transfer guard lets pass
    while moments.count.ndim > 1:
        moments = moments.total_over(0)
    return moments
