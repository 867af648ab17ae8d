"""Lets the reference tools run from a weights file that is here, where they would download one."""

import contextlib
import importlib
from typing import Any


def prepare_torchvision() -> None:
    """Declares torchvision's compiled operators where an `oracle_setup` module does so.

    Beside a CPU build of torch there may be a torchvision without them, which does not import else.
    """
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("oracle_setup")


def make_pytorch_fid_network(weights: str | None, **arguments: Any) -> Any:  # noqa: ANN401
    """Returns pytorch-fid's `InceptionV3(**arguments)` in eval mode, from the file or its download."""
    use_weights_file(weights)
    from pytorch_fid.inception import InceptionV3

    return InceptionV3(**arguments).eval()


def use_weights_file(weights: str | None) -> None:
    """Makes pytorch-fid read this file instead of its download; with None nothing changes."""
    prepare_torchvision()
    import pytorch_fid.inception
    import torch

    if weights is not None:
        pytorch_fid.inception.load_state_dict_from_url = lambda *_, **__: torch.load(
            weights, weights_only=True
        )
