"""Every block of the page on the training loop runs, in order, in one program."""

import importlib.util
import pathlib
import re
import types

import jax
import numpy as np
from PIL import Image

import jaxfid
from tests.tiny import TINY

PAGE = pathlib.Path(jaxfid.__file__).parent.parent / "docs" / "training-loop.md"
# Of the FID's network, and of the tiny one that stands in for it.
NAMES = {"fid": "fd", "kid": "kd"}


class TinyEvaluator(jaxfid.Evaluator):
    """An evaluator of a network that needs no weights."""

    def __init__(self, reference, *, metrics="fid", **options):
        names = [NAMES.get(name, name) for name in metrics.split(",")]
        super().__init__(reference, metrics=names, num_rows=256, extractor=TINY, **options)


jax.tree_util.register_pytree_node_class(TinyEvaluator)


def sample(key):
    return jax.random.uniform(key, (32, 8, 8, 3), minval=-1, maxval=1)


def write_references(folder):
    rng = np.random.default_rng(0)
    for name in ("real", "test"):
        (folder / name).mkdir()
        for index in range(8):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    stats = jaxfid.compute_stats(folder / "real", extractor=TINY)
    jaxfid.save_stats(folder / "reference.npz", stats)


def test_the_blocks_of_the_page_run(tmp_path, monkeypatch, capsys):
    write_references(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jaxfid, "Evaluator", TinyEvaluator)
    logged = []
    wandb = types.SimpleNamespace(log=lambda values, step: logged.append(values))
    namespace = {"sample": sample, "wandb": wandb, "step": 1}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert len(blocks) > 10
    for block in blocks:
        if "kauldron" in block and importlib.util.find_spec("kauldron") is None:
            continue
        code = block.replace('"fid"', '"fd_tiny"')
        exec(compile(code, PAGE.name, "exec"), namespace)
    shown = capsys.readouterr().out
    assert "fd_tiny" in shown
    assert "recall_tiny" in shown
    assert logged[0]["fd_tiny"] > 0
