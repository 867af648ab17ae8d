"""Inception Score from bias-free logits, as torch-fidelity and as ADM's evaluator define it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

from jaxfid.errors import InputError
from jaxfid.metrics.blocks import Features, UncheckedFeatures, check_features
from jaxfid.metrics.pair import SetPair
from jaxfid.metrics.registry import MetricOption, MetricSpec
from jaxfid.result import MetricValue

TORCH_FIDELITY_NUM_SPLITS = 10
TORCH_FIDELITY_SEED = 2020
ADM_SPLIT_SIZE = 5000


@dataclasses.dataclass(frozen=True)
class InceptionScore:
    """The exponential of the mean divergence of an image's class distribution from its split's.

    Attributes:
      value: Mean of the scores of the splits; between 1 and the number of classes.
      stderr: Its standard error from the sampling of the images; None where a split has one image.
      std: Standard deviation of the splits' scores with ddof 0, as printed beside the value, of
        which it is no standard error. None where there is one split only.
      num_splits: How many splits the images made.
      convention: Who splits in this way.
    """

    value: float
    stderr: float | None
    std: float | None
    num_splits: int
    convention: str


def inception_score(
    logits: UncheckedFeatures,
    *,
    convention: str = "torch_fidelity",
    num_splits: int = TORCH_FIDELITY_NUM_SPLITS,
) -> InceptionScore:
    """Returns the Inception Score (Salimans et al. 2016) of the images that gave these logits.

    The two conventions differ in the splits alone, and the score of a split rises with its size:
      torch_fidelity: the images shuffled by `numpy.random.RandomState(2020)`, then `num_splits`
        splits whose sizes differ by one at most.
      adm: the images in their order, in splits of 5,000; the last has what is left
        (guided-diffusion, `evaluations/evaluator.py`).

    Softmax, means and logarithms are float64; ADM's own are float32, which moves the seventh digit.

    The standard error is that of the score's linear part in each image, the image's divergence from
    its split's mean. It is 0.92 to 1.02 of the true spread in simulations
    (`scripts/bench/standard_errors.py`).

    Args:
      logits: Inception's class logits without the bias of its last layer, `(n, classes)`, in the
        images' order.
      convention: `torch_fidelity` or `adm`: which splits.
      num_splits: How many splits torch-fidelity makes; without effect on ADM's.

    Raises:
      InputError: The logits are not a finite floating matrix, there are fewer images than splits, there
        is no such convention, or `num_splits` is below 1.
    """
    splits = _make_splits(logits, convention, num_splits)
    size = max(len(split) for split in splits)
    with jax.enable_x64(True):
        found = np.array([_split_score(*_pad(logits, split, size)) for split in splits], float)
    scores, variances = found.T
    return InceptionScore(
        value=float(scores.mean()),
        stderr=_stderr(variances),
        std=float(scores.std()) if len(scores) > 1 else None,
        num_splits=len(scores),
        convention=convention,
    )


def _stderr(variances: Float64[np.ndarray, " splits"]) -> float | None:
    """Returns the standard error of the mean over splits, which have no image in common."""
    # A split of one image has a variance of 0 / 0.
    stderr = float(np.sqrt(variances.sum()) / len(variances))
    return stderr if np.isfinite(stderr) else None


def _make_splits(
    logits: UncheckedFeatures, convention: str, num_splits: int
) -> list[Int[np.ndarray, " _"]]:
    if num_splits < 1:
        raise InputError(f"num_splits: expected 1 or more, found {num_splits}")
    if convention == "torch_fidelity":
        check_features(num_splits, logits=logits)
        # Its seed and its generator: another shuffle is another score in the third digit.
        order = np.random.RandomState(TORCH_FIDELITY_SEED).permutation(len(logits))
        bounds = np.arange(1, num_splits) * len(logits) // num_splits
        return np.split(order, bounds)
    if convention == "adm":
        check_features(1, logits=logits)
        order = np.arange(len(logits))
        return np.split(order, order[ADM_SPLIT_SIZE::ADM_SPLIT_SIZE])
    raise InputError(f"convention: expected torch_fidelity or adm, found {convention!r}")


def _pad(
    logits: UncheckedFeatures, split: Int[np.ndarray, " m"], size: int
) -> tuple[Features, Bool[np.ndarray, " size"]]:
    """Returns a split's rows at the largest split's size, so that one step serves all, and a mask."""
    return logits[np.resize(split, size)], np.arange(size) < len(split)


@jax.jit
def _split_score(
    logits: Float[Array, "n classes"], mask: Bool[Array, " n"]
) -> tuple[Float64[Array, ""], Float64[Array, ""]]:
    """Returns exp(H(mean p) - mean H(p)), and its variance from the sampling of the images.

    Entropies, so that a class of probability 0 adds 0.
    """
    log_p = jax.nn.log_softmax(logits.astype(jnp.float64))
    p = jnp.exp(log_p)
    mean_p = jnp.mean(p, axis=0, where=mask[:, None])
    # Minus infinity at a class that no image has is never multiplied: p is 0 there as well.
    log_mean = jnp.log(jnp.where(mean_p > 0, mean_p, 1))
    divergences = jnp.sum(p * (log_p - log_mean), axis=1)
    negative_entropy = jnp.mean(jnp.sum(p * log_p, axis=1), where=mask)
    score = jnp.exp(negative_entropy - jnp.sum(jax.scipy.special.xlogy(mean_p, mean_p)))
    # The derivative of the score's logarithm in one image is its divergence, less the mean of all.
    variance = jnp.square(score) * jnp.var(divergences, ddof=1, where=mask) / jnp.sum(mask)
    return score, variance


LOGITS = "logits_unbiased"


def _compute(pair: SetPair) -> MetricValue:
    score = inception_score(
        pair.generated.features[LOGITS],
        convention=pair.options["splits"],
        num_splits=pair.options["isc_splits"],
    )
    details = {"splits": score.convention, "num_splits": score.num_splits}
    return MetricValue(score.value, stderr=score.stderr, std=score.std, details=details)


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
            MetricOption(
                "isc_splits",
                TORCH_FIDELITY_NUM_SPLITS,
                "how many splits torch-fidelity's are",
                least=1,
            ),
        ),
    ),
)
