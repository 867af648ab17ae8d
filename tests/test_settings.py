"""Choices are checked when they are made, and mean what they say."""

import dataclasses
from typing import get_args

import pytest

from jaxfid.errors import InputError
from jaxfid.extractors.precision import PRECISIONS, PrecisionName
from jaxfid.metrics.registry import ADM_METRICS, metric_options
from jaxfid.preprocessing.protocol import CLEAN, PROTOCOLS, ProtocolName, get_protocol
from jaxfid.settings import (
    FeatureSettings,
    MetricSettings,
    RuntimeSettings,
    Settings,
    SettingsDict,
)


def test_keyword_arguments_are_the_fields_of_the_parts_and_the_options_of_the_metrics():
    parts = (FeatureSettings, MetricSettings, RuntimeSettings)
    fields = {field.name for part in parts for field in dataclasses.fields(part)}
    renamed = {"extractors": "extractor", "names": "metrics"}
    fields = {renamed.get(name, name) for name in fields - {"options"}} | set(metric_options())
    assert set(SettingsDict.__annotations__) == fields | {"blocks"}


def test_the_types_name_what_there_is():
    assert get_args(ProtocolName) == (*PROTOCOLS,)
    assert get_args(PrecisionName) == (*PRECISIONS,)


def test_an_unknown_choice_is_a_type_error():
    with pytest.raises(TypeError, match="unexpected keyword arguments: protokoll"):
        Settings(protokoll="clean")


def test_blocks_are_ignored_with_a_warning():
    with pytest.warns(DeprecationWarning, match="blocks: ignored"):
        Settings(blocks=10)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"protocol": "cleen"}, "one of legacy_tensorflow, .*'cleen'; did you mean clean"),
        ({"dims": 512}, "dims: expected one of 64, 192, 768, 2048, found 512"),
        ({"precision": "fp16"}, "precision: expected one of float32"),
        ({"metrics": "fid,lpips"}, r"metrics: expected names out of .*found 'lpips'$"),
        ({"metrics": "fid,recal"}, "found 'recal'; did you mean recall"),
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


def test_metrics_are_named_once_and_adm_is_written_out():
    assert Settings().metrics.names is None
    assert Settings(metrics="kid,fid,kid").metrics.names == ("kid", "fid")
    adm = Settings(metrics="adm").metrics
    assert (adm.names, adm.options["splits"]) == (ADM_METRICS, "adm")
    assert Settings().metrics.options["splits"] == "torch_fidelity"


def test_a_protocol_may_be_given_by_name_or_as_it_is():
    assert Settings(protocol="clean").features.protocol is CLEAN is get_protocol(CLEAN)
    assert list(PROTOCOLS)[:3] == ["legacy_tensorflow", "legacy_pytorch", "clean"]


def test_weights_may_be_of_each_network_by_its_name():
    features = Settings(extractor="inception,keras", weights={"keras": "a.h5"}).features
    assert features.extractors == ("inception", "keras")
    assert (features.weights_of("keras"), features.weights_of("inception")) == ("a.h5", "auto")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"limit": 2.5}, "limit: expected a whole number, found 2.5"),
        ({"batch_size": "8"}, "batch_size: expected a whole number, found '8'"),
        ({"kid_subset_size": 2.5}, "kid_subset_size: expected a whole number, found 2.5"),
        ({"seed": -1}, "seed: expected at least 0, found -1"),
        ({"resume_every_s": float("nan")}, "resume_every_s: expected at least 0, found nan"),
        ({"seed": None}, "seed: expected a whole number, found None"),
        ({"crop": "adm:5000"}, "crop: expected .* of 1 to 4096 pixels, found 'adm:5000'"),
    ],
)
def test_numbers_that_are_none_are_refused(choices, message):
    with pytest.raises(InputError, match=message):
        Settings(**choices)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"extractor": 3}, "extractor: expected str or Extractor or Sequence, found 3"),
        ({"extractor": []}, "extractor: expected one network or several, found none"),
        ({"crop": 5}, "crop: expected str, found 5"),
        ({"weights": 3}, "weights: expected str or PathLike or Mapping, found 3"),
        ({"metrics": 3}, "metrics: expected str or Sequence, found 3"),
        ({"resume": 3}, "resume: expected str or PathLike, found 3"),
        ({"image_key": 3}, "image_key: expected str, found 3"),
    ],
)
def test_choices_of_another_kind_are_refused_by_their_name(choices, message):
    with pytest.raises(InputError, match=message):
        Settings(**choices)
