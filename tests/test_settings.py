"""Choices are checked when they are made, and mean what they say."""

import dataclasses

import pytest

from jaxfid.errors import InputError
from jaxfid.preprocessing.protocol import CLEAN, PROTOCOLS, get_protocol
from jaxfid.settings import ADM_METRICS, METRICS, Settings, SettingsDict


def test_keyword_arguments_are_the_fields():
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert set(SettingsDict.__annotations__) == fields


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"protocol": "cleanfid"}, "protocol: expected one of legacy_tensorflow, .*'cleanfid'"),
        ({"dims": 512}, "dims: expected one of 64, 192, 768, 2048, found 512"),
        ({"precision": "fp16"}, "precision: expected one of float32"),
        ({"metrics": "fid,lpips"}, r"metrics: expected names out of .*found \['fid', 'lpips'\]"),
        ({"metrics": ()}, "metrics: expected names"),
        ({"splits": "openai"}, "splits: expected torch_fidelity or adm"),
        ({"on_error": "ignore"}, "on_error: expected fail or skip"),
        ({"batch_size": 0}, "batch_size: expected at least 1, found 0"),
        ({"num_workers": -1}, "num_workers: expected at least 0, found -1"),
        ({"limit": 0}, "limit: expected at least 1"),
        ({"blocks": 0}, "blocks: expected at least 1"),
    ],
)
def test_a_wrong_choice_is_named(choices, message):
    with pytest.raises(InputError, match=message):
        Settings(**choices)


def test_metrics_expand_in_order_and_once():
    assert Settings(metrics="all").metrics == METRICS
    assert Settings(metrics="kid,fid,kid").metrics == ("kid", "fid")
    adm = Settings(metrics="adm")
    assert (adm.metrics, adm.splits) == (ADM_METRICS, "adm")
    assert Settings().splits == "torch_fidelity"


def test_a_protocol_may_be_given_by_name_or_as_it_is():
    assert Settings(protocol="clean").protocol is CLEAN is get_protocol(CLEAN)
    assert list(PROTOCOLS) == ["legacy_tensorflow", "legacy_pytorch", "clean"]
