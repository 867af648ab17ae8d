"""Metrics over several extractors: each is made of one other metric's values on all of them."""

import dataclasses
from collections.abc import Callable, Mapping

from jaxfid.metrics.pair import SetPair
from jaxfid.result import MetricValue


@dataclasses.dataclass(frozen=True)
class JointSpec:
    """The definition of a metric over several extractors.

    A file of this package lists them in its `JOINT_SPECS`. The images are decoded once for all networks.

    Attributes:
      name: What command line and results call it.
      compute: From the values of its part, and the pairs behind them, by the names of the extractors. Raises
        `InputError` where they allow no value.
      part: The metric whose values it is made of, such as `fd`.
      extractors: The networks, all of which it needs.
      protocol: Name of the input rule that all of them have to be under.
      heading: How tables head it; None for its name.
      remark: What a reader of any value has to be told.
      greater_is_better: The direction.
      why_no_stderr: Why a value has no standard error, where it has none.
    """

    name: str
    compute: Callable[[Mapping[str, MetricValue], Mapping[str, SetPair]], MetricValue]
    part: str
    extractors: tuple[str, ...]
    protocol: str
    heading: str | None = None
    remark: str | None = None
    greater_is_better: bool = False
    why_no_stderr: str | None = None
