"""What a type checker makes of a user's program: every public name has a type, and mistakes are found."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

import jaxfid

ROOT = pathlib.Path(jaxfid.__file__).parent.parent
README = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
# What the README says in words.
IMAGES = "import numpy as np\n\nimages = np.zeros((4, 32, 32, 3), np.uint8)\n"
PROGRAMS = {
    "readme": f"{IMAGES}\n{README}",
    "names": "import jaxfid\n\n" + "".join(f"print(jaxfid.{name})\n" for name in jaxfid.__all__),
    "mistakes": """import jaxfid

jaxfid.compute_fid("real/", "generated/", protocol="cleen")
jaxfid.compute_fid("real/", "generated/", precision="fp16")
jaxfid.compute_fid("real/", "generated/", dims="64")
jaxfid.compute_fid("real/", "generated/", batchsize=4)
jaxfid.compute_metrics("real/", ["a/"]).results[0].metrics["fid"].error
""",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Lines with an error, by the name of the program."""
    folder = tmp_path_factory.mktemp("programs")
    for name, text in PROGRAMS.items():
        (folder / f"{name}.py").write_text(text)
    choices = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(choices))
    command = [sys.executable, "-m", "pyright", "-p", folder, "--outputjson"]
    done = subprocess.run(
        [*command, "--pythonpath", sys.executable], capture_output=True, text=True, check=False
    )
    errors: dict[str, list[tuple[int, str]]] = {name: [] for name in PROGRAMS}
    for one in json.loads(done.stdout)["generalDiagnostics"]:
        at = pathlib.Path(one["file"]).stem
        errors[at].append((one["range"]["start"]["line"], one["message"]))
    return errors


@pytest.mark.parametrize("name", ["readme", "names"])
def test_a_right_program_is_clean(found, name):
    assert found[name] == []


def test_mistakes_are_found(found):
    assert sorted({line for line, _ in found["mistakes"]}) == [2, 3, 4, 5, 6]
