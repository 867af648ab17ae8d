"""What a sampler is, by which a comparison that goes on knows it again."""

import functools
import importlib
import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxfid.checkpoints.sampler_identity import describe_arguments, describe_sampler
from jaxfid.checkpoints.user_modules import find_user_modules
from jaxfid.errors import InputError

FILES = {
    "ck_sampler.py": "import numpy\nfrom ck_package import model\n\ndef make(path):\n    import ck_late\n",
    "ck_late.py": "value = 1\n",
    "ck_other.py": "value = 1\n",
    "ck_package/__init__.py": "",
    "ck_package/model.py": "from . import layers as l\nfrom .layers import thing\n",
    "ck_package/layers.py": "import os, missing_package\nthing = 1\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's own folder, whose modules are forgotten afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ck_package/layers.py").write_text("import os\nthing = 1\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("ck_")]:
        del sys.modules[name]


@pytest.fixture
def make(project):
    return importlib.import_module("ck_sampler").make


def test_modules_of_the_users_own_are_followed_and_no_others(project, make):
    found = find_user_modules("ck_sampler")
    names = ["ck_late", "ck_package", "ck_package.layers", "ck_package.model", "ck_sampler"]
    assert sorted(found) == names
    assert "ck_late" not in sys.modules  # looked at, not run
    assert found["ck_package.layers"].file == project / "ck_package/layers.py"


@pytest.mark.parametrize("name", ["ck_sampler.py", "ck_late.py", "ck_package/layers.py"])
def test_another_source_is_another_sampler(project, make, name):
    before = describe_sampler(make)
    assert describe_sampler(make) == before
    with (project / name).open("a") as file:
        file.write("# changed\n")
    assert describe_sampler(make) != before


def test_what_is_not_imported_does_not_matter(project, make):
    before = describe_sampler(make)
    (project / "ck_other.py").write_text("value = 2\n")
    assert describe_sampler(make) == before
    assert before["name"] == "ck_sampler:make"


def test_arguments_of_partial_are_part_of_it(make):
    values = [
        functools.partial(make, steps=5),
        functools.partial(make, steps=6),
        functools.partial(make, "a"),
        functools.partial(make, weights=np.arange(3)),
        functools.partial(make, weights=jax.numpy.arange(4)),
        functools.partial(make, nested={"a": [1, 2.5, None, Path("x")]}),
        make,
    ]
    described = [json.dumps(describe_sampler(value)) for value in values]
    assert len(set(described)) == len(values)
    again = functools.partial(functools.partial(make, steps=4), steps=5)
    assert describe_sampler(again) == describe_sampler(values[0])


def test_decorated_function_of_a_module_is_one(make):
    decorated = functools.wraps(make)(lambda *arguments: make(*arguments))
    assert describe_sampler(decorated) == describe_sampler(make)


class Sampler:
    def __call__(self, path):
        return None

    def draw(self, path):
        return None


@pytest.mark.parametrize(
    "sampler", [lambda path: path, Sampler(), Sampler().draw, functools.partial(lambda path: path)]
)
def test_what_holds_values_that_no_source_shows_needs_an_id(sampler):
    with pytest.raises(
        InputError, match=r"sampler: expected a function of a module.*give sampler_id="
    ):
        describe_sampler(sampler)
    assert describe_sampler(sampler, "mine, 5 steps") == {"id": "mine, 5 steps"}


def test_by_its_name_in_a_module_anything_is_known_by_the_source(project, make):
    with (project / "ck_sampler.py").open("a") as file:
        file.write("made = (lambda x: lambda path: x)(3)\n")
    before = describe_sampler("ck_sampler:made")
    assert before["name"] == "ck_sampler:made"
    (project / "ck_late.py").write_text("value = 2\n")
    assert describe_sampler("ck_sampler:made") != before


def test_arguments_of_a_named_partial_are_part_of_it(make, monkeypatch):
    named = sys.modules["ck_sampler"]
    found = []
    for cfg in (1.0, 1.5):
        partial = functools.partial(make, cfg=cfg, model=object())
        monkeypatch.setattr(named, "made", partial, raising=False)
        found.append(describe_sampler("ck_sampler:made")["arguments"])
    assert found == [{"cfg": 1.0}, {"cfg": 1.5}]


def test_arguments_that_cannot_be_compared_need_an_id(make):
    with pytest.raises(InputError, match="found model of type object; give sampler_id="):
        describe_sampler(functools.partial(make, model=object()))


def test_module_without_a_file_has_no_digest():
    assert describe_sampler(os.getcwd)["source"] == {}


VALUES = """
import os
from ck_config import STEPS
import ck_config

GUIDANCE = float(os.environ.get("CK_GUIDANCE", "1.0"))
PASSWORD = os.environ["CK_PASSWORD"]
JOB = [os.environ.get("SLURM_JOB_ID"), os.getenv("RANK")]
count = 0

def make(path):
    global count
    import ck_late
    count += 1
    if "CK_FLAG" in os.environ:
        return os.getenv("CK_LATE")
"""


@pytest.fixture
def values(project, monkeypatch):
    monkeypatch.setenv("CK_PASSWORD", "secret")
    (project / "ck_values.py").write_text(VALUES)
    (project / "ck_config.py").write_text("STEPS = 5\n")
    return importlib.import_module("ck_values")


def difference(before, after):
    """What a refusal names."""
    return {
        f"{part} {name}"
        for part in ("source", "global", "environment", "arguments")
        for name in {**before.get(part, {}), **after.get(part, {})}
        if before[part].get(name) != after[part].get(name)
    }


def test_globals_are_part_of_it_wherever_they_come_from(values, monkeypatch):
    before = describe_sampler(values.make)
    monkeypatch.setattr(values, "GUIDANCE", 1.5)
    assert difference(before, describe_sampler("ck_values:make")) == {"global ck_values.GUIDANCE"}
    monkeypatch.setattr(sys.modules["ck_config"], "STEPS", 6)
    assert "global ck_config.STEPS" in difference(before, describe_sampler("ck_values:make"))


@pytest.mark.parametrize("name", ["CK_GUIDANCE", "CK_FLAG", "CK_LATE"])
def test_environment_that_the_source_reads_is_part_of_it(values, monkeypatch, name):
    before = describe_sampler(values.make)
    for other in ("CK_OTHER", "SLURM_JOB_ID", "RANK"):
        monkeypatch.setenv(other, "1")
    assert describe_sampler(values.make) == before
    monkeypatch.setenv(name, "1.5")
    assert difference(before, describe_sampler(values.make)) == {f"environment {name}"}


def test_calls_change_nothing_and_no_text_is_kept(values):
    before = describe_sampler(values.make)
    values.make(None)  # counts, and imports another module
    assert describe_sampler(values.make) == before
    names = ["ck_config.STEPS", "ck_values.GUIDANCE", "ck_values.PASSWORD", "ck_values.STEPS"]
    assert sorted(before["global"]) == names
    assert "secret" not in json.dumps(before)


def test_the_module_that_changed_is_named(project, make):
    before = describe_sampler(make)
    (project / "ck_package/layers.py").write_text("import os\nthing = 2\n")
    assert difference(before, describe_sampler(make)) == {"source ck_package.layers"}


def test_a_file_that_an_argument_names_is_known_by_its_content(tmp_path):
    config = tmp_path / "x.yaml"
    config.write_text("cfg: 1")
    before = describe_arguments({"config": str(config), "name": "x"})
    assert describe_arguments({"config": config, "name": "x"}) == before
    config.write_text("cfg: 2")
    assert describe_arguments({"config": str(config), "name": "x"}) != before
    assert before["name"] == "x"
    assert describe_arguments({"text": "\0" + "x" * 9000})["text"] == "\0" + "x" * 9000


def test_packages_without_an_init_that_were_not_imported_are_passed_over(project, make):
    (project / "ck_spread/inner").mkdir(parents=True)  # as `google.cloud` lies in many places
    (project / "ck_spread/inner/deep.py").write_text("x = 1\n")
    file = project / "ck_package/layers.py"
    file.write_text(file.read_text() + "\ndef late():\n    import ck_spread.inner.deep\n")
    assert describe_sampler(make)["name"]
