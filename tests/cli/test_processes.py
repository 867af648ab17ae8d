"""The command on several processes, killed ones among them."""

import json
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.evaluate import compute_metrics
from tests.commands import latest_snapshot
from tests.distributed.loopback import finish, free_port, processes

OPTIONS = ("--dims", "64", "--weights", "untrained", "--batch-size", "8", "--num-workers", "0")
TIMEOUT_S = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two small sets that differ, and a place for compiled programs."""
    folder, rng = tmp_path_factory.mktemp("sets"), np.random.default_rng(0)
    for name, count, top in (("real", 40, 256), ("drawn", 33, 200)):
        (folder / name).mkdir()
        for index in range(count):
            pixels = rng.integers(0, top, (*rng.integers(8, 24, 2), 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="module")
def expected(folder) -> float:
    result = compute_metrics(folder / "real", [folder / "drawn"], dims=64, weights="untrained")
    return result.results[0].metrics["fid"].value


def score(folder: Path, *more: str) -> list[str]:
    sets = (str(folder / "real"), str(folder / "drawn"))
    cache = ("--compile-cache", str(folder / "compiled"))
    return ["-m", "jaxfid", "score", *sets, *OPTIONS, *cache, "--json", "-", *more]


def score_on(folder: Path, count: int, *more: str) -> list[list[str]]:
    where = ("--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", str(count))
    timeout = ("--process-timeout", str(TIMEOUT_S))
    return [score(folder, *where, *timeout, "--process-id", str(i), *more) for i in range(count)]


def value(stdout: str) -> float:
    return json.loads(stdout)["results"][0]["metrics"]["fid"]["value"]


def wait_for(path: Path, pattern: str) -> Path:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if found := sorted(path.glob(pattern)):
            return found[0]
        time.sleep(0.005)
    raise AssertionError(f"{pattern} never came to {path}")


def slurm(count: int) -> list[dict[str, str]]:
    """What Slurm would tell each of its tasks on one node."""
    job = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": str(count)}
    job |= {"JAX_COORDINATOR_PORT": str(free_port())}
    return [job | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(count)]


def test_tasks_of_slurm_with_unequal_options_say_so_on_each(folder):
    commands = [score(folder, "--distributed") for _ in range(2)]
    commands[1] += ["--protocol", "clean", "--limit", "10"]
    with processes(commands, slurm(2)) as started:
        ended = finish(started)
    for index, (code, stdout, stderr) in enumerate(ended):
        assert code == 2, stderr
        assert stdout == ""
        assert f"process {index} of 2: error" in stderr
        assert 'protocol is "legacy_tensorflow" on process 0, "clean" on process 1' in stderr
        assert "limit is null on process 0, 10 on process 1" in stderr
        assert "number of images of set 0 is 40 on process 0, 10 on process 1" in stderr


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_give_the_value_of_one_though_one_was_killed(folder, expected, tmp_path, count):
    resume = ("--resume", str(tmp_path), "--resume-every", "0")
    with processes(score_on(folder, count, *resume)) as started:
        wait_for(tmp_path, f"*drawn-????????.{count - 1}.npz")
        started[-1].send_signal(signal.SIGKILL)
        died = time.monotonic()
        ended = finish(started[:-1])
        elapsed_s = time.monotonic() - died
    assert elapsed_s < 2 * TIMEOUT_S + 8  # the bound stated, and as much for a busy machine
    for code, stdout, stderr in ended:
        assert code == 1, stderr
        assert stdout == ""
        assert f"nothing was heard of {count - 1} for 8 s" in stderr
    with processes(score_on(folder, count, *resume)) as started:
        ended = finish(started)
    assert [code for code, _, _ in ended] == [0] * count, ended
    assert value(ended[0][1]) == pytest.approx(expected, rel=1e-6)
    assert [stdout for _, stdout, _ in ended[1:]] == [""] * (count - 1)


def test_killed_and_started_again(folder, expected, tmp_path):
    command = score(folder, "--resume", str(tmp_path), "--resume-every", "0")
    with processes([command]) as started:
        wait_for(tmp_path, "*real-????????.0.npz")
        started[0].send_signal(signal.SIGKILL)
    with processes([command]) as started:
        ((code, stdout, stderr),) = finish(started)
    assert code == 0, stderr
    assert value(stdout) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "seed"), [(1, 0), (1, 1), (1, 2), (1, 3), (2, 4)])
def test_killed_at_random_moments(folder, expected, tmp_path, count, seed):
    """Five kills each, 25 in all: anywhere in a process's life, or soon after it has kept something."""
    draw = random.Random(seed)
    resume = ("--resume", str(tmp_path), "--resume-every", "0", "--batch-size", "2")

    def start():
        return processes(
            score_on(folder, count, *resume) if count > 1 else [score(folder, *resume)]
        )

    for number in range(5):
        before = latest_snapshot(tmp_path)
        with start() as started:
            began = time.monotonic()
            while number % 2 and started[0].poll() is None and latest_snapshot(tmp_path) == before:
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.3 if number % 2 else 10))
            for process in started:
                process.send_signal(signal.SIGKILL)
        print(f"killed after {time.monotonic() - began:.2f} s; kept: {progress(tmp_path)}")
    with start() as started:
        ended = finish(started)
    assert [code for code, _, _ in ended] == [0] * count, ended
    assert value(ended[0][1]) == pytest.approx(expected, rel=1e-6)


def progress(folder: Path) -> list[int]:
    abouts = [np.load(path)["about"] for path in sorted(folder.glob("*.npz"))]
    return [json.loads(str(about))["next_batch"] for about in abouts]


def test_a_changed_source_or_protocol_is_refused(folder, expected, tmp_path):
    def compute(**changed):
        settings = {"dims": 64, "weights": "untrained", "resume": tmp_path} | changed
        result = compute_metrics(folder / "real", [folder / "drawn"], **settings)
        return result.results[0].metrics["fid"].value

    assert compute() == expected  # the same computation
    assert compute() == expected  # from what was kept
    with pytest.raises(InputError, match='protocol was "legacy_tensorflow", is "clean"'):
        compute(protocol="clean")
    with pytest.raises(InputError, match="limit was null, is 20") as caught:
        compute(limit=20)
    assert "number of images was 40, is 20" in str(
        caught.value
    )  # of the reference, which comes first


def test_without_a_cluster_it_is_said_what_to_give(folder):
    with processes([score(folder, "--distributed")]) as started:
        ((code, stdout, stderr),) = finish(started)
    assert (code, stdout) == (2, "")
    assert "elsewhere give coordinator (HOST:PORT), num_processes and process_id" in stderr


@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_sigterm_to_one_ends_all_with_what_is_kept(folder, request, tmp_path, again):
    resume = ("--resume", str(tmp_path), "--resume-every", "3600")
    with processes(score_on(folder, 2, *resume)) as started:
        wait_for(tmp_path, "*real-????????.1.npz")  # in the next set now, or soon
        started[1].send_signal(signal.SIGTERM)
        asked = time.monotonic()
        ended = finish(started)
        elapsed_s = time.monotonic() - asked
    assert elapsed_s < 20  # a batch and a beat are a second or two; the rest is for a busy machine
    for code, stdout, stderr in ended:
        assert (code, stdout) == (143, ""), stderr
        assert (
            f"ended by SIGTERM; the same command goes on from what is kept in {tmp_path}" in stderr
        )
        assert "Traceback" not in stderr
    if again:
        with processes(score_on(folder, 2, *resume)) as started:
            ended = finish(started)
        assert [code for code, _, _ in ended] == [0, 0], ended
        expected = request.getfixturevalue("expected")
        assert value(ended[0][1]) == pytest.approx(expected, rel=1e-6)


def test_a_process_that_never_comes_is_said_in_the_time_given(folder):
    with processes(score_on(folder, 2, "--start-timeout", "2")[:1]) as started:
        ((code, stdout, stderr),) = finish(started)
    assert (code, stdout) == (1, "")
    assert "error: of 2 processes, 1 did not come within 2 s" in stderr
    assert "stack trace" not in stderr


def test_an_index_given_twice_ends_all_with_a_sentence(folder):
    commands = score_on(folder, 3)
    with processes([commands[0], commands[1], commands[1]]) as started:
        ended = finish(started)
    for code, stdout, stderr in ended:
        assert (code, stdout) == (2, ""), stderr
        assert "two processes say that they are process 1 of 3" in stderr
        assert "stack trace" not in stderr
        assert "Traceback" not in stderr
