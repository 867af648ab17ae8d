"""`compare` on several processes, killed ones among them."""

import csv
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tests.commands import run_jaxfid
from tests.distributed.loopback import ROOT, finish, free_port, processes

SAMPLER = """
import time
from functools import partial
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import jaxfid

def make_global(path):
    level, slow_s = map(float, path.read_text().split())
    if level > 2 and jax.process_index() == 1:
        raise ValueError("far too bright")
    rows = NamedSharding(Mesh(np.array(jax.devices()), ("images",)), PartitionSpec("images"))

    @jax.jit
    def draw(keys):
        keys = jax.lax.with_sharding_constraint(keys, rows)
        images = jax.vmap(lambda key: jax.random.uniform(key, (12, 12, 3)))(keys)
        # As layers that are sharded over all hosts: every process waits for the others here.
        return images * (1 - level) + 0 * images.mean()

    def sample(key, n):
        time.sleep(slow_s)
        return draw(jax.random.split(key, n))

    return sample

def make_share(path):
    draw = make_sample(path)

    def sample(key, n):
        part = n // jax.process_count()
        return np.asarray(draw(key, n))[jax.process_index() * part :][:part]

    return sample

def make_sample(path):
    level, slow_s = map(float, path.read_text().split())
    if level > 1 and jax.process_index() == 1:
        raise ValueError("too bright")

    @partial(jax.jit, static_argnums=1)
    def draw(key, n):
        return jax.random.uniform(key, (n, 12, 12, 3)) * (1 - level)

    def sample(key, n):
        time.sleep(slow_s)
        return draw(key, n)

    return sample

def average(params, images):
    return images.mean((1, 2))

def make_tiny():
    protocol = jaxfid.Protocol("tiny_8", "tf1_bilinear", 0.0, 8.0, "for tests", 8)
    return jaxfid.Extractor("tiny", protocol, 3, {}, average)
"""
OPTIONS = (
    "--sampler", "pod_sampler:make_sample", "--extractor", "pod_sampler:make_tiny",
    "--checkpoints", "checkpoints", "--value-range", "0..1",
    "--num-images", "60", "--chunk-size", "8", "--num-workers", "0", "--resume-every", "0",
)  # fmt: skip
TIMEOUT_S = 8


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A reference, three checkpoints and a sampler, where each command starts."""
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    np.save(tmp_path / "reference.npy", images)
    (tmp_path / "pod_sampler.py").write_text(SAMPLER)
    (tmp_path / "checkpoints").mkdir()
    write_checkpoints(tmp_path, {1: 0.5, 2: 0.25, 3: 0.0})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tests.distributed.loopback.ROOT", tmp_path)
    return tmp_path


def write_checkpoints(folder: Path, levels: dict[int, float], slow_s: float = 0) -> None:
    for step, level in levels.items():
        (folder / f"checkpoints/step{step}.msgpack").write_text(f"{level} {slow_s}")


def compare_on(folder: Path, count: int, *more: str, out: str = "run") -> list[list[str]]:
    """The command of each process. Each but the first has another folder: the disk need not be shared."""
    where = ("--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", str(count))
    common = ["-m", "jaxfid", "compare", "reference.npy", *OPTIONS, *more]
    common += ["--compile-cache", str(folder / "compiled"), "--process-timeout", str(TIMEOUT_S)]
    outs = [out, *(f"{out}_of_{index}" for index in range(1, count))]
    return [[*common, "--out", name, *where, "--process-id", str(i)] for i, name in enumerate(outs)]


def start(commands):
    return processes(commands, [{"PYTHONPATH": str(ROOT)}] * len(commands))


def run_alone(*more: str) -> None:
    """The same by one process, the oracle."""
    done = run_jaxfid("compare", "reference.npy", *OPTIONS, "--out", "alone", *more)
    assert done.returncode == 0, done.stderr


def read_table(run: Path) -> dict[str, dict[str, str]]:
    rows = csv.DictReader((run / "results.csv").read_text().splitlines())
    return {row["checkpoint"]: row for row in rows}


def values(run: Path) -> dict[str, float]:
    return {name: float(row["fd_tiny"] or "nan") for name, row in read_table(run).items()}


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_processes_score_what_one_scores_and_a_failure_of_one_is_a_row(folder, count):
    exactly = ("--sums", "integer")
    run_alone(*exactly)
    write_checkpoints(folder, {2: 1.5})
    with start(compare_on(folder, count, *exactly)) as started:
        ended = finish(started, 900)
    for index, (code, stdout, stderr) in enumerate(ended):
        assert code == 1, stderr  # of one checkpoint there is no score
        assert "Traceback" not in stderr
        assert ("step3" in stdout) == (index == 0)
    table = read_table(folder / "run")
    start_of_it = f"process 1 of {count} failed: sampler pod_sampler:make_sample at step2.msgpack"
    assert table["step2.msgpack"]["failure"].startswith(start_of_it)
    expected = read_table(folder / "alone")
    for name in ("step1.msgpack", "step3.msgpack"):
        for column in ("fd_tiny", "fd_tiny_stderr"):
            assert table[name][column] == expected[name][column]  # to the last bit
    for index in range(1, count):
        assert {p.name for p in (folder / f"run_of_{index}").iterdir()} <= {"progress"}


@pytest.mark.slow
def test_what_is_finished_only_process_0_has_to_see(folder):
    exactly, count = ("--sums", "integer"), 2
    run_alone(*exactly)
    write_checkpoints(folder, {2: 1.5})
    with start(compare_on(folder, count, *exactly)) as started:
        assert [code for code, _, _ in finish(started, 900)] == [1, 1]
    write_checkpoints(folder, {2: 0.25})
    with start(compare_on(folder, count, *exactly)) as started:
        ended = finish(started, 900)
    assert [code for code, _, _ in ended] == [0] * count, ended
    assert "step1.msgpack: fd_tiny" not in ended[0][2]
    assert values(folder / "run") == values(folder / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_comparison_whose_process_ends_goes_on_where_it_was(folder, how):
    run_alone()
    write_checkpoints(folder, {1: 0.5, 2: 0.25, 3: 0.0}, slow_s=0.4)
    with start(compare_on(folder, 2)) as started:
        wait_for_snapshot(folder / "run_of_1/progress", "*step2*.1.npz")
        started[1].send_signal(how)
        ended = finish(started if how == signal.SIGTERM else started[:1], 900)
    for code, stdout, stderr in ended:
        assert code == (143 if how == signal.SIGTERM else 1), stderr
        assert stdout == ""
        assert "Traceback" not in stderr
    if how == signal.SIGTERM:
        assert "ended by SIGTERM; the same command goes on from what is kept in run" in ended[0][2]
    assert list(values(folder / "run")) == ["step1.msgpack"]  # and no row of a failure
    with start(compare_on(folder, 2)) as started:
        ended = finish(started, 900)
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert "step1.msgpack: fd_tiny" not in ended[0][2]
    assert values(folder / "run") == pytest.approx(values(folder / "alone"), rel=1e-9)


def wait_for_snapshot(folder: Path, pattern: str) -> None:
    end = time.monotonic() + 600
    while not list(folder.glob(pattern)):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_watching_process_0_says_what_comes_next(folder):
    for step in (2, 3):
        (folder / f"checkpoints/step{step}.msgpack").unlink()
    watch = ("--watch", "--watch-poll", "0.2", "--watch-timeout", "4")
    with start(compare_on(folder, 2, *watch)) as started:
        end = time.monotonic() + 600
        while not (folder / "run/results.jsonl").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        write_checkpoints(folder, {2: 0.25})
        ended = finish(started, 900)
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert list(values(folder / "run")) == ["step1.msgpack", "step2.msgpack"]


@pytest.mark.slow
def test_processes_with_other_options_say_so_on_each(folder):
    commands = compare_on(folder, 2)
    commands[1] += ["--num-images", "70"]
    with start(commands) as started:
        ended = finish(started, 900)
    for code, stdout, stderr in ended:
        assert (code, stdout) == (2, ""), stderr
        assert "number of images is 60 on process 0, 70 on process 1" in stderr


@pytest.mark.parametrize(
    ("sampler", "count"),
    [
        ("make_global", 2),
        pytest.param("make_global", 4, marks=pytest.mark.slow),
        pytest.param("make_share", 2, marks=pytest.mark.slow),
    ],
)
def test_all_processes_draw_each_chunk_together(folder, sampler, count):
    together = ("--sampler", f"pod_sampler:{sampler}", "--sampler-placement", "global")
    together += ("--metrics", "fd,precision", "--prc-k", "2")  # which has pictures of its own
    run_alone(*together)
    with start(compare_on(folder, count, *together)) as started:
        ended = finish(started, 900)
    assert [code for code, _, _ in ended] == [0] * count, ended
    # The order of float64 sums apart, the same.
    assert values(folder / "run") == pytest.approx(values(folder / "alone"), rel=1e-9)
    pictures = [
        {str(p.relative_to(folder / run)): p.read_bytes() for p in (folder / run).rglob("*.png")}
        for run in ("run", "alone")
    ]
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) > 40


@pytest.mark.slow
def test_joint_draws_end_together_and_go_on(folder):
    together = ("--sampler", "pod_sampler:make_global", "--sampler-placement", "global")
    run_alone(*together)
    write_checkpoints(folder, {1: 0.5, 2: 0.25, 3: 0.0}, slow_s=0.4)
    with start(compare_on(folder, 2, *together)) as started:
        wait_for_snapshot(folder / "run_of_1/progress", "*step2*.1.npz")
        started[1].send_signal(signal.SIGTERM)
        ended = finish(started, 900)
    for code, stdout, stderr in ended:
        assert (code, stdout) == (143, ""), stderr
        assert "Traceback" not in stderr
    with start(compare_on(folder, 2, *together)) as started:
        ended = finish(started, 900)
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert values(folder / "run") == pytest.approx(values(folder / "alone"), rel=1e-9)


@pytest.mark.slow
def test_process_that_fails_in_a_joint_draw_ends_those_that_wait_for_it(folder):
    together = ("--sampler", "pod_sampler:make_global", "--sampler-placement", "global")
    write_checkpoints(folder, {2: 2.5})
    with start(compare_on(folder, 2, *together)) as started:
        ended = finish(started, 900)
    # Nothing brings a process back from a collective: all end, and what is finished is kept.
    for code, stdout, stderr in ended:
        assert (code, stdout) == (1, ""), stderr
    why = "the sampler waits for a process that has failed: process 1 of 2 failed: sampler pod_s"
    assert why in ended[0][2]
    assert list(values(folder / "run")) == ["step1.msgpack"]


@pytest.mark.slow
def test_chunk_that_the_processes_cannot_divide_is_refused(folder):
    together = ("--sampler-placement", "global", "--chunk-size", "9")
    with start(compare_on(folder, 2, *together)) as started:
        ended = finish(started, 900)
    for code, _, stderr in ended:
        assert code == 2, stderr
        assert "chunk_size: expected a multiple of the 2 processes" in stderr
