"""Scores of images that are on the devices already: behind a sampler, in a training loop."""

import os
from typing import Any, NoReturn, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Shaped

from jaxfid.context import own_context
from jaxfid.distributed.group import process_group
from jaxfid.errors import InputError
from jaxfid.extraction.evaluator_state import EvaluatorState, all_gather_state
from jaxfid.extraction.image_set import Images
from jaxfid.extraction.merging import Over, bring_together
from jaxfid.extraction.on_device import OnDevice, make_on_device
from jaxfid.extraction.state_file import load_state, save_state
from jaxfid.metrics.registry import check_whole_number
from jaxfid.preprocessing.value_range import ValueRange, check_value_range
from jaxfid.provenance import Provenance, versions
from jaxfid.result import SetResult
from jaxfid.scoring.evaluation import Evaluation
from jaxfid.scoring.state_scoring import (
    StateScoring,
    choose_feature,
    compare_with,
    open_reference,
)
from jaxfid.settings import Settings, SettingsDict
from jaxfid.stats.files import Stats
from jaxfid.stats.kept_rows import MAX_KEPT_ROWS


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
    is a pytree of sums and of some features for the error bar. `a + b` is the images of both.
    `evaluator.all_gather(state, axis_name)` merges the states of all devices inside a mapped function;
    `jax.lax.psum` would add the kept features as numbers, so that the value comes without its error bar.
    `save` and `load` keep a state in a file; as NumPy arrays, it goes on as `evaluator.init() + loaded`.

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
        num_rows: int = MAX_KEPT_ROWS,
        rows_per_device: int | None = None,
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
          num_rows: How many rows of features a state keeps, for error bars and for metrics of single images
            (kd, precision, recall and so on): 8 kB each at 2048 features.
          rows_per_device: How many images of an update go through the network at once on one device; None is
            256, and one on a CPU. Inside `jit` on a mesh of automatic axes, JAX does not say how images are
            divided over devices: there it is the number on all of them.
          **settings: Fields of `Settings`. `batch_size` is the number of images at once over all devices,
            where `rows_per_device` is None. What is about reading images is about those of the reference.

        Raises:
          InputError: An argument is not what it should be, or the reference was made otherwise.
          WeightsUnavailableError: The weights are neither here nor to be fetched.
        """
        choices = Settings(**settings)
        value_range = check_value_range(value_range)
        check_whole_number("num_rows", num_rows, 2)
        if rows_per_device is not None:
            check_whole_number("rows_per_device", rows_per_device, 1)
        with process_group().one_evaluation():
            opened = open_reference(reference, choices)
            evaluation = Evaluation(choices, [] if opened is None else [opened])
            network, feature = choose_feature(evaluation.plan)
            comparison = compare_with(opened, evaluation)
        # After the reference, which may have needed more features of the network than its own.
        extractor = network.load([feature])
        made = make_on_device(
            extractor,
            feature,
            value_range=value_range,
            quantize=quantize,
            rows_per_device=rows_per_device,
            batch_size=choices.runtime.batch_size,
            sums=choices.runtime.sums,
            num_rows=num_rows,
        )
        provenance = Provenance(
            extractor.provenance(feature),
            value_range=value_range,
            quantize=quantize,
            versions=versions(),
        )
        self._set(made, StateScoring(evaluation, feature, provenance, comparison))

    def _set(self, network: OnDevice, scoring: StateScoring) -> None:
        self._network, self._scoring = network, scoring
        with own_context():
            self._serial = jnp.asarray(scoring.serial, jnp.int32)

    @property
    def _own_scoring(self) -> StateScoring:
        """The scoring that belongs to this evaluator's weights.

        A compiled function puts an evaluator together again with the scoring of the one that it was compiled
        for. The number, which goes through the function as the weights do, tells.
        """
        if int(jax.device_get(self._serial)) != self._scoring.serial:
            raise InputError(
                "evaluator: it came out of a function that was compiled for another one; use the one that "
                "went in"
            )
        return self._scoring

    def with_reference(self, reference: Images) -> "Evaluator":
        """Returns an evaluator of the same weights and metrics against another reference.

        Functions that were compiled for one serve both, and a state of one may be computed by the other.

        Args:
          reference: As when an evaluator is made.

        Raises:
          InputError: The reference is not what it should be, or was made otherwise.
        """
        made = object.__new__(type(self))
        with process_group().one_evaluation():
            made._set(self._network, self._own_scoring.against(reference))
        return made

    def init(self) -> EvaluatorState:
        """Returns the state of no images."""
        return self._network.init()

    def update(
        self,
        state: EvaluatorState,
        images: Shaped[Array | np.ndarray, "..."],
        mask: Bool[Array | np.ndarray, "..."] | None = None,
    ) -> EvaluatorState:
        """Returns the state with further images.

        Args:
          state: From `init` or an earlier update.
          images: Any number of them, `(n, h, w, 3)`, on any devices, of any one size: uint8, or floating
            in the range that was stated.
          mask: True where there is an image; None where there is one in every row.

        Raises:
          InputError: An argument is not what it should be; or sums are kept on the host, and this is the
            inside of a compiled function. There, return `features(images)` from it, and call
            `update_from_features` outside.
        """
        return self.update_from_features(state, self.features(images), mask)

    def features(self, images: Shaped[Array | np.ndarray, "..."]) -> Float32[Array, "n d"]:
        """Returns the features of the images, differentiable in floating ones.

        Raises:
          InputError: The images have another shape or type, or their range is not known.
        """
        return self._network.features(images)

    def update_from_features(
        self,
        state: EvaluatorState,
        features: Float32[Array | np.ndarray, "n d"],
        mask: Bool[Array | np.ndarray, "..."] | None = None,
    ) -> EvaluatorState:
        """Returns the state with further images, whose features are given; else as `update`."""
        return self._network.update(state, features, mask)

    def merge(self, state: EvaluatorState) -> EvaluatorState:
        """Returns the state of the images of all processes, in NumPy arrays, the same bits on each.

        All processes call it, each with its own state. It is for looking, not for going on: go on from each
        process's own state, or the images of all would count several times at the next look.

        Args:
          state: As in `compute`.

        Raises:
          InputError: As `compute` with `over="auto"`.
        """
        return bring_together(state)

    def save(self, state: EvaluatorState, path: str | os.PathLike[str]) -> None:
        """Writes a state to a file, in float64, with what its features depend on.

        Of several processes each writes what it holds: its own state to a path of its own, or, on one of
        them, what `merge` has given to all.

        Args:
          state: Of this process, or merged.
          path: Where, also in a bucket.

        Raises:
          InputError: Nothing can be written there, or the state is divided over several processes.
        """
        total = bring_together(state, "this")
        self._own_scoring.check(total)
        save_state(path, total, self._own_scoring.provenance)

    def load(self, path: str | os.PathLike[str]) -> EvaluatorState:
        """Returns a state that `save` has written, to go on with.

        Raises:
          InputError: It is no such file; or it is a state of another network, input rule or `value_range`,
            and the message says what differs.
        """
        like = jax.device_get(self.init())
        return self._network.place(load_state(path, like, self._own_scoring.provenance))

    def stats(self, state: EvaluatorState, *, over: Over = "auto") -> Stats:
        """Returns mean, covariance, count and provenance, as `compute_stats` does, for `save_stats`.

        Args:
          state: As in `compute`.
          over: Likewise.

        Raises:
          InputError: As `compute`, but that it needs no reference.
        """
        return self._own_scoring.stats(bring_together(state, over))

    def compute(
        self, state: EvaluatorState, *, over: Over = "auto", name: str = "generated"
    ) -> SetResult:
        """Returns the metrics of all images so far, as `compute_metrics` gives them of a set.

        A Frechet distance is of all images, and has its error bar from the features that the state keeps.
        Other metrics are of the images whose features it keeps: of all while there is room (`num_rows`),
        then of a random sample, and the result says of how many.

        Args:
          state: Further leading axes, as of states of several devices, are added up.
          over: Of several processes, whose images are meant. "this" is what this process holds, and the
            others need not call. "all" adds up the states of the processes. "auto" does so where a process
            holds its own, takes once what all hold alike (a state that was merged, or restored on each),
            and takes arrays that are laid over all processes as they are. With these two all processes
            call, and get the same result.
          name: What the result calls the images.

        Raises:
          InputError: There is no reference; fewer than two images, or features that are not finite; the
            sums are not float64; or it cannot be known whose images are meant.
          JaxfidError: Another process failed, died, or does not take part.
        """
        scoring = self._own_scoring
        if scoring.comparison is None:
            raise InputError("reference: none was given; `stats` needs none")
        return scoring.score(bring_together(state, over), name)

    @staticmethod
    def all_gather(state: EvaluatorState, axis_name: str) -> EvaluatorState:
        """Returns the state of all devices of a mapped axis, the same on each device.

        Args:
          state: This device's, inside `shard_map` or `pmap`.
          axis_name: Name of the axis.
        """
        return all_gather_state(state, axis_name)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an Evaluator cannot be pickled or copied: it holds compiled functions. Make it anew where it is "
            "needed, and save its state: evaluator.save, pickle, NumPy, Orbax and flax.serialization take it"
        )

    def tree_flatten(self) -> tuple[tuple[OnDevice, Any], StateScoring]:
        """Returns the arrays, and the rest."""
        return (self._network, self._serial), self._scoring

    @classmethod
    def tree_unflatten(cls, scoring: StateScoring, children: tuple[OnDevice, Any]) -> "Evaluator":
        """Returns the evaluator of these parts."""
        evaluator = object.__new__(cls)
        evaluator._network, evaluator._serial = children
        evaluator._scoring = scoring
        return evaluator
