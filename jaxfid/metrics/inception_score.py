"""Inception Score from bias-free logits, as torch-fidelity and as ADM's evaluator define it."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import check_features
from jaxfid.metrics.pair import SetPair
from jaxfid.metrics.registry import MetricOption, MetricSpec
from jaxfid.result import MetricValue

Convention = Literal["torch_fidelity", "adm"]
Logits = Float[np.ndarray | Array, "n classes"]

TORCH_FIDELITY_NUM_SPLITS = 10
TORCH_FIDELITY_SEED = 2020
ADM_SPLIT_SIZE = 5000

LOGITS = "logits_unbiased"


@dataclasses.dataclass(frozen=True)
class InceptionScore:
    """The exponential of the mean divergence of an image's class distribution from its split's.

    Attributes:
      value: Mean of the scores of the splits; between 1 and the number of classes.
      std: Standard deviation of those scores with ddof 0, as printed beside the value, of which it
        is no standard error. None where there is one split only.
      num_splits: How many splits the images made.
      convention: Who splits in this way.
    """

    value: float
    std: float | None
    num_splits: int
    convention: Convention


def inception_score(
    logits: Logits,
    *,
    convention: Convention = "torch_fidelity",
) -> InceptionScore:
    """Returns the Inception Score (Salimans et al. 2016) of the images that gave these logits.

    The two conventions differ in the splits alone, and the score of a split rises with its size:
      torch_fidelity: the images shuffled by `numpy.random.RandomState(2020)`, then 10 splits whose
        sizes differ by one at most.
      adm: the images in their order, in splits of 5,000; the last has what is left
        (guided-diffusion, `evaluations/evaluator.py`).

    Softmax, means and logarithms are float64; ADM's own are float32, which moves the seventh digit.

    Args:
      logits: Inception's class logits without the bias of its last layer, in the images' order.
      convention: Which splits.

    Raises:
      InputError: The logits are no finite floating matrix, there are fewer images than splits, or
        there is no such convention.
    """
    splits = _make_splits(logits, convention)
    size = max(len(split) for split in splits)
    with jax.enable_x64(True):
        scores = np.array([float(_split_score(*_pad(logits, split, size))) for split in splits])
    std = float(scores.std()) if len(scores) > 1 else None
    return InceptionScore(float(scores.mean()), std, len(scores), convention)


def _make_splits(logits: Logits, convention: str) -> list[Int[np.ndarray, " m"]]:
    if convention == "torch_fidelity":
        check_features(TORCH_FIDELITY_NUM_SPLITS, logits=logits)
        order = np.random.RandomState(TORCH_FIDELITY_SEED).permutation(len(logits))
        bounds = np.arange(1, TORCH_FIDELITY_NUM_SPLITS) * len(logits) // TORCH_FIDELITY_NUM_SPLITS
        return np.split(order, bounds)
    if convention == "adm":
        check_features(1, logits=logits)
        order = np.arange(len(logits))
        return np.split(order, order[ADM_SPLIT_SIZE::ADM_SPLIT_SIZE])
    raise InputError(f"convention: expected torch_fidelity or adm, found {convention!r}")


def _pad(
    logits: Logits, split: Int[np.ndarray, " m"], size: int
) -> tuple[Logits, Bool[np.ndarray, " size"]]:
    """Returns a split's rows at the largest split's size, so that one step serves all, and a mask."""
    return logits[np.resize(split, size)], np.arange(size) < len(split)


@jax.jit
def _split_score(logits: Logits, mask: Bool[Array, " n"]) -> Float64[Array, ""]:
    """Returns exp(H(mean p) - mean H(p)): entropies, so that a class of probability 0 adds 0."""
    log_p = jax.nn.log_softmax(logits.astype(jnp.float64))
    p = jnp.exp(log_p)
    mean_p = jnp.mean(p, axis=0, where=mask[:, None])
    negative_entropy = jnp.mean(jnp.sum(p * log_p, axis=1), where=mask)
    return jnp.exp(negative_entropy - jnp.sum(jax.scipy.special.xlogy(mean_p, mean_p)))


def _compute(pair: SetPair) -> MetricValue:
    score = inception_score(pair.generated.features[LOGITS], convention=pair.options["splits"])
    details = {"splits": score.convention, "num_splits": score.num_splits}
    return MetricValue(score.value, std=score.std, details=details)


SPECS = (
    MetricSpec(
        "inception_score",
        _compute,
        generated_features=(LOGITS,),
        greater_is_better=True,
        heading="IS",
        extractors=("inception",),
        options=(
            MetricOption(
                "splits",
                "torch_fidelity",
                "whose splits the Inception Score is averaged over",
                choices=("torch_fidelity", "adm"),
                adm="adm",
            ),
        ),
    ),
)
