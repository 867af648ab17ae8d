"""The rows of published networks: sizes, input rules, weights. Full networks are never compiled here."""

import hashlib
import itertools
import json
import math
import pathlib
import tracemalloc
import zipfile
from dataclasses import replace

import jax
import numpy as np
import platformdirs
import pytest
import safetensors.numpy

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors import manifest, networks, published, stored
from jaxfid.extractors.checkpoint_layouts import convert_tensors
from jaxfid.extractors.layers import param_shapes
from jaxfid.extractors.manifest import Release
from jaxfid.extractors.networks import NETWORKS, Network, make_module, make_network
from jaxfid.extractors.precision import get_precision
from jaxfid.extractors.published import draw_params, load_network_weights
from jaxfid.extractors.vit import VitConfig
from jaxfid.preprocessing.protocol import EDM2, FDR, LEGACY_TENSORFLOW, fdr_protocol
from jaxfid.provenance import diff_features
from tests.extractors.loopback import ranged, running_server
from tests.extractors.network_data import VITS, make_images, make_tensors
from tests.extractors.torch_files import plain, write_zip

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
FLOAT32 = get_precision("float32")
# As timm 1.0.31 counts its models; CLIP's projection is the head there, and ConvNeXt's head is left out.
NUM_PARAMS = {
    "dinov2_vits14": 22_056_192,
    "dinov2_vitb14": 86_579_712,
    "dinov2_vitl14": 304_367_616,
    "dinov2_vitg14": 1_136_479_232,
    "clip_vitb32": 87_849_728 - 512,  # timm's head has a bias, of zeros
    "clip_vitl14": 303_966_976 - 768,
    "clip_vitl14_336": 304_294_656 - 768,
    "clip_vitl14_timm": 303_179_776,
    "mae_vitl16": 303_301_632,
    "siglip2_so400m_256": 427_888_064,
    "convnextv2_base": 87_690_752,
    "vgg16": 138_357_544 - 1000 * 4097,  # torchvision's, without the classes
    "vgg16_stylegan": 138_357_544 - 1000 * 4097,
}
WIDTHS = {
    "dinov2_vits14": {"384": 384},
    "dinov2_vitb14": {"768": 768},
    "dinov2_vitl14": {"1024": 1024},
    "dinov2_vitg14": {"1536": 1536},
    "clip_vitb32": {"512": 512, "768": 768},
    "clip_vitl14": {"768": 768, "1024": 1024},
    "clip_vitl14_336": {"768": 768, "1024": 1024},
    "clip_vitl14_timm": {"1024": 1024},
    "mae_vitl16": {"1024": 1024},
    "siglip2_so400m_256": {"1152": 1152},
    "convnextv2_base": {"1024": 1024},
    "vgg16": {"fc2_relu": 4096, "fc2": 4096},
    "vgg16_stylegan": {"fc2_relu": 4096, "fc2": 4096},
}
TINY = Network(
    "tiny",
    VitConfig(**VITS["dinov2_hub"][0]),
    (fdr_protocol(56, FDR_SCALING := (127.5, 127.5), multiple_px=14),),
)
RELEASE = Release(
    "tiny", "tiny.pth", "https://example.org/tiny.pth", None, None, "CC-BY-NC-4.0", "", ("tiny",)
)


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(networks, "NETWORKS", {"tiny": TINY})
    monkeypatch.setattr(manifest, "load_manifest", lambda: (RELEASE,))
    published.say_license.cache_clear()
    return TINY


def load_tensors(case="dinov2_hub"):
    with np.load(FIXTURES / "network_features.npz") as file:
        return make_tensors(json.loads(str(file[f"{case}/shapes"])))


def count_params(network):
    rule = network.protocols[0]
    shapes = param_shapes(make_module(network, rule, FLOAT32), rule.input_px)
    return sum(math.prod(shape) for shape in shapes.values())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_its_published_number_of_parameters(name):
    network = NETWORKS[name]
    config = network.config
    if not isinstance(config, VitConfig):
        count = count_params(network)
    else:  # blocks are alike: one and two of them tell the rest, and are faster to trace than 40
        one, two = (
            count_params(replace(network, config=replace(config, depth=depth))) for depth in (1, 2)
        )
        count = one + (config.depth - 1) * (two - one)
    assert count == NUM_PARAMS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_takes_its_input_rules_and_has_its_features(name):
    network = NETWORKS[name]
    assert dict(network.features) == WIDTHS[name]
    for rule in network.protocols:
        assert rule.input_px % network.config.multiple_px == 0


def test_what_fdr_gives_each_network():
    sides = {
        name: (rule.size_px, rule.input_px, rule.shift)
        for name, network in NETWORKS.items()
        for rule in network.protocols
        if rule.name == "fdr"
    }
    imagenet, clip = sides["mae_vitl16"][2], sides["clip_vitl14_timm"][2]
    assert imagenet == pytest.approx((123.675, 116.28, 103.53))
    assert clip == pytest.approx((122.771, 116.746, 104.094), abs=1e-3)
    assert sides == {
        **{f"dinov2_vit{size}14": (256, 266, imagenet) for size in "sblg"},
        "clip_vitl14_timm": (256, 266, clip),
        "mae_vitl16": (224, 224, imagenet),
        "siglip2_so400m_256": (224, 224, 127.5),
        "convnextv2_base": (224, 224, imagenet),
    }


def test_fdr_takes_timm_s_positions_and_other_rules_the_hub_s():
    network = NETWORKS["dinov2_vitl14"]
    rules = {rule.name: make_module(network, rule, FLOAT32).config for rule in network.protocols}
    positions = {name: config.positions for name, config in rules.items()}
    assert positions.pop("fdr") == "timm"
    assert set(positions.values()) == {"hub"}


def test_provenance_tells_what_tools_choose_differently(tiny):
    fdr = make_network("tiny", "untrained", "float32")
    edm2 = make_network("tiny", "untrained", "float32", EDM2)
    assert fdr.provenance()["choices"] == {"positions": "timm", "activation": "gelu"}
    differences = diff_features(fdr.provenance(), edm2.provenance())
    assert "choices positions timm against hub" in differences


def test_untrained_is_the_same_on_every_call_and_is_no_file(tiny):
    first, second = (make_network("tiny", "untrained", "float32") for _ in range(2))
    assert (first.weights_name, first.weights_official) == ("untrained", False)
    assert first.digest == second.digest
    assert dict(first.widths) == {"48": 48}
    first.check()


def test_untrained_features_are_of_a_usable_scale(tiny):
    network = make_network("tiny", "untrained", "float32")
    (features,) = jax.jit(network.extract)(network.params, make_images(56)).values()
    assert 0.3 < float(features.std()) < 3
    assert float(np.abs(features[0] - features[1]).max()) > 0.1


def test_random_matrices_have_variance_one_over_inputs():
    drawn = draw_params({"fc.weight": (300, 200), "fc.bias": (300,), "norm.weight": (7,)})
    assert drawn["fc.weight"].var() * 200 == pytest.approx(1, abs=0.03)  # 60,000 numbers
    np.testing.assert_array_equal(drawn["fc.bias"], 0)
    np.testing.assert_array_equal(drawn["norm.weight"], 1)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_is_read_and_named_by_its_digest(tiny, tmp_path, monkeypatch, capsys, suffix):
    path = tmp_path / f"mine{suffix}"
    if suffix == ".pth":
        write_zip(path, {n: plain(t, str(i)) for i, (n, t) in enumerate(load_tensors().items())})
    else:
        safetensors.numpy.save_file(load_tensors(), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    network = make_network("tiny", path, "float32")
    assert network.weights_name == f"unrecognised weights (mine{suffix})"
    assert (network.weights_sha256, network.weights_official) == (sha256, False)
    assert network.license == "CC-BY-NC-4.0"
    assert "tiny: its weights are licensed CC-BY-NC-4.0" in capsys.readouterr().err
    make_network("tiny", path, "float32")
    assert not capsys.readouterr().err  # once
    known = replace(RELEASE, license="Apache-2.0", sha256=sha256)
    shapes = param_shapes(make_module(TINY, TINY.protocols[0], FLOAT32), 56)
    found = load_network_weights(path, lambda: shapes, known, network="tiny")
    assert (found.name, found.official) == ("tiny.pth", True)


def test_compressed_code_of_an_archive_is_not_read(tiny, tmp_path):
    path = tmp_path / "script.pt"
    write_zip(path, {n: plain(t, str(i)) for i, (n, t) in enumerate(load_tensors().items())})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        root = archive.namelist()[0].split("/")[0]
        archive.writestr(f"{root}/code/__torch__.py", "x = 1\n" * 1000)  # as TorchScript has it
    network = make_network("tiny", path, "float32")
    assert network.weights_name == "unrecognised weights (script.pt)"
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{root}/data/more", "x" * 1000)
    with pytest.raises(InputError, match=r"script\.pt: .*found compressed or encrypted members"):
        make_network("tiny", path, "float32")


def test_metadata_of_a_file_is_not_believed(tiny, tmp_path):
    path = tmp_path / "forged.safetensors"
    claims = {"source_name": "tiny.pth", "source_sha256": "0" * 64}
    safetensors.numpy.save_file(load_tensors(), path, claims)
    network = make_network("tiny", path, "float32")
    assert network.weights_name == "unrecognised weights (forged.safetensors)"
    assert network.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_of_another_network_is_refused(tiny, tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"fc.bias": np.zeros(3, np.float32)}, path)
    with pytest.raises(InputError, match=r"other\.safetensors: expected the 34 tensors of tiny"):
        make_network("tiny", path, "float32")


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", None])
def test_a_broken_file_is_refused_by_name(tiny, tmp_path, content):
    path = tmp_path / "broken.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"broken\.safetensors: (no intact|expected a weights file)"
    ):
        make_network("tiny", path, "float32")


def test_weights_have_to_be_there(cache):
    with pytest.raises(WeightsUnavailableError, match=r"jaxfid weights download dinov2_vitl14; or"):
        make_network("dinov2_vitl14", "auto", "float32")
    with pytest.raises(
        WeightsUnavailableError, match=r"cache/jaxfid/weights: download https://hugg"
    ):
        make_network("mae_vitl16", "auto", "float32")  # no digest of it is known


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "jaxfid" / "weights"


@pytest.fixture
def published_file(tiny, tmp_path, monkeypatch, cache):
    """A file of the tiny network, and a manifest that has its digest."""
    path = tmp_path / "mine.safetensors"
    safetensors.numpy.save_file(load_tensors(), path)
    release = replace(RELEASE, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(manifest, "load_manifest", lambda: (release,))
    return path


def test_imported_weights_are_what_auto_loads(published_file, cache, capsys):
    found = stored.import_weights(published_file)
    assert found.path == cache / found.sha256[:16] / "tiny.pth"
    assert (found.name, found.official) == ("tiny", True)
    assert "CC-BY-NC-4.0, which forbids commercial use" in capsys.readouterr().err
    network = make_network("tiny", "auto", "float32")
    assert (network.weights_name, network.weights_official) == ("tiny.pth", True)
    assert [s.name for s in stored.weights_status().stored] == ["tiny"]
    assert not stored.weights_status().missing
    data = bytearray(found.path.read_bytes())
    data[-1] ^= 1
    found.path.write_bytes(data)
    with pytest.raises(InputError, match="changed since it was stored"):
        make_network("tiny", "auto", "float32")
    (fault,) = stored.weights_status().damaged
    assert str(found.path) in fault


def test_weights_of_a_network_are_downloaded_by_its_name(published_file, monkeypatch, capsys):
    assert [r.name for r in stored.weights_status().missing] == ["tiny"]
    with running_server() as server:
        server.script = [ranged(published_file.read_bytes())]
        release = replace(manifest.load_manifest()[0], url=server.url)
        monkeypatch.setattr(manifest, "load_manifest", lambda: (release,))
        first = stored.download_weights("tiny")
        assert stored.download_weights("tiny") == first
        assert len(server.requests) == 1
    assert "CC-BY-NC-4.0" in capsys.readouterr().err
    assert make_network("tiny", "auto", "float32").weights_official


def test_weights_without_a_digest_are_not_downloaded(tiny, cache):
    with pytest.raises(WeightsUnavailableError, match=r"no digest of tiny\.pth is known here"):
        stored.download_weights("tiny")


def test_an_unrecognised_file_is_imported_for_the_network_that_is_named(tmp_path, cache):
    path = tmp_path / "mine.safetensors"
    safetensors.numpy.save_file(load_tensors(), path)
    with pytest.raises(InputError, match=r"mine\.safetensors: .*Inception-v3"):
        stored.import_weights(path)
    with pytest.raises(InputError, match="extractor: expected one of inception, "):
        stored.import_weights(path, network="resnet")
    safetensors.numpy.save_file({"fc.bias": np.zeros(3, np.float32)}, tmp_path / "no.safetensors")
    with pytest.raises(InputError, match=r"no\.safetensors: .*mae_vitl16"):
        stored.import_weights(tmp_path / "no.safetensors", network="mae_vitl16")


def test_stylegan_s_vgg16_is_read_by_its_archive_s_names():
    network = NETWORKS["vgg16_stylegan"]
    names = param_shapes(make_module(network, network.protocols[0], FLOAT32), 224)
    theirs = [f"conv{i}" for i in range(1, 14)] + ["fc1", "fc2"]
    tensors = {
        f"layers.{layer}.{part}": np.full(2, number, np.float32)
        for number, (layer, part) in enumerate(itertools.product(theirs, ("weight", "bias")))
    }
    beside = {name: np.zeros(3, np.float32) for name in ("layers.fc3.weight", "lpips0", "mean")}
    found = convert_tensors(tensors | beside, dict.fromkeys(names, (2,)), network="vgg16")
    # In torchvision's list a convolution's place rises with its depth.
    order = sorted(
        found, key=lambda n: (n.startswith("classifier"), int(n.split(".")[1]), n[-1] == "s")
    )
    assert [found[name][0] for name in order] == list(range(30))
    with pytest.raises(InputError, match=r"layers\.conv13\.bias"):
        convert_tensors(
            {n: t for n, t in tensors.items() if n != "layers.conv13.bias"},
            dict.fromkeys(names, (2,)),
            network="vgg16",
        )


def test_a_file_is_held_once_in_memory(tiny, tmp_path):
    tensors = {"a": np.zeros((1024, 4096), np.float32), "b": np.ones((2048, 1024), np.float32)}
    path = tmp_path / "large.safetensors"
    safetensors.numpy.save_file(tensors, path)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    tracemalloc.start()
    found = load_network_weights(path, lambda: shapes, RELEASE, network="tiny")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The check for numbers that are not finite takes one byte of four, of one tensor at a time.
    assert peak < 1.3 * path.stat().st_size
    np.testing.assert_array_equal(found.params["b"], tensors["b"])


def test_a_protocol_of_another_size_is_refused():
    with pytest.raises(
        InputError, match="multiple of 14 pixels, found 299 of legacy_tensorflow; its own are dgm_"
    ):
        make_network("dinov2_vits14", "untrained", "float32", LEGACY_TENSORFLOW)


def test_a_protocol_that_is_asked_for_is_the_network_s_variant(tiny):
    cropped = make_network("tiny", "untrained", "float32", FDR.with_crop("adm:256"))
    assert cropped.protocol == TINY.protocols[0].with_crop("adm:256")
    assert make_network("tiny", "untrained", "float32", EDM2).protocol is EDM2
