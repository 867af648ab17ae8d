"""Steps in names, by one rule."""

import re

import pytest

from jaxfid.checkpoints.steps import compile_step_pattern, find_step
from jaxfid.errors import InputError


@pytest.mark.parametrize(
    ("name", "step"),
    [
        # Behind a word for it, `step` before `checkpoint` before `epoch`.
        ("epoch3-step1200.msgpack", 1200),
        ("epoch=3-step=1200.ckpt", 1200),
        ("checkpoint_100-loss0.90.safetensors", 100),
        ("checkpoint_200-loss0.50", 200),
        ("checkpoint-300-fid_35", 300),
        ("ckpt_007", 7),
        ("ckpt_00000100", 100),
        ("ckpt.100", 100),
        ("global_step5", 5),
        ("iter_500k", 500_000),
        ("step1e5", 100_000),
        ("STEP-2M", 2_000_000),
        ("sample-epoch=02-val_loss=0.32", 2),
        # Alone.
        ("100", 100),
        ("1e5", 100_000),
        ("ema_100", 100),
        ("20.npy", 20),
        ("network-snapshot-025000.pkl", 25000),
        ("edm2-img512-xs-2147483-0.135.npz", 2147483),
        ("ema0.9999_100", 100),
        ("100_lr5e-4", 100),
        ("2024-01-05_70", 70),
        # One word.
        ("weights100.eqx", 100),
        ("x3.msgpack", 3),
        # Something else.
        ("best", None),
        ("v2.safetensors", None),
        ("model_v2", None),
        ("ema0.9999", None),
        ("model-loss0.50", None),
        ("img512-best", None),
        ("2024-01-05_best", None),
        ("checkpoint_1.5", None),
        ("test-10k.zip", None),
        ("", None),
    ],
)
def test_step_of_a_name(name, step):
    assert find_step(name) == step


def test_huge_exponents_are_no_steps():
    assert find_step("step1e99999999") is None


@pytest.mark.parametrize(
    ("pattern", "step"), [(r"\d+", 12), (r"-(\d+)", 34), (r"(\d+)x(?P<step>\d+)", 56), ("z", None)]
)
def test_pattern_takes_its_group_called_step_else_its_first_else_all(pattern, step):
    assert find_step("a12-34x56", re.compile(pattern)) == step


def test_patterns_that_are_none():
    with pytest.raises(
        InputError, match=r"step_pattern: expected a regular expression, found '\('"
    ):
        compile_step_pattern("(")
    with pytest.raises(InputError, match="to find a whole number in 'step7', found 'step7'; put"):
        find_step("step7", compile_step_pattern(r"step\d"))
