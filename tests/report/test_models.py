"""Checkpoints that are one model: which they are, what is made of them, and how it is shown."""

import csv
import json
import math

import numpy as np
import pytest

from jaxfid.report.entries import from_line, to_line
from jaxfid.report.model_table import format_tables, model_rows
from jaxfid.report.models import compare_models, find_models
from jaxfid.report.row_names import short_names
from jaxfid.report.run_folder import RunFolder
from jaxfid.report.swept import name_row
from jaxfid.report.tables import format_csv, format_json, format_table
from tests.report.entries import make_entry, make_failure

FIDS = {10: (9.0, 9.2, 9.4), 20: (4.0, 4.1, 4.2)}


def draw(step, fid, *, run=None, noise=None, own="{step}.msgpack", **more):
    name = own.format(step=step) if run is None else f"{run}/{own.format(step=step)}"
    name = name if noise is None else name_row(name, {}, noise)
    return make_entry(step, fid, name=name, run=run, noise_seed=noise, **more)


RUNS = [
    draw(step, fid, run=f"runs/seed{seed}", kid=fid / 100)
    for step, fids in FIDS.items()
    for seed, fid in enumerate(fids)
]
NOISES = [
    draw(step, fid, noise=seed) for step, fids in FIDS.items() for seed, fid in enumerate(fids)
]


def names_of(entries):
    return {model.name: [entry.name for entry in model.entries] for model in find_models(entries)}


def test_runs_are_matched_by_step_and_draws_by_checkpoint():
    assert {name: len(of) for name, of in names_of(RUNS).items()} == {"step 10": 3, "step 20": 3}
    assert {name: len(of) for name, of in names_of(NOISES).items()} == {"step 10": 3, "step 20": 3}
    other_names = [draw(5, 1.0, run="a", own="x5"), draw(5, 1.0, run="b", own="y5")]
    assert len(names_of(other_names)["step 5"]) == 2


def test_one_run_without_replicates_has_no_models():
    assert find_models([draw(10, 1.0), draw(20, 2.0), make_failure(30)]) == []
    # Two checkpoints of one step in one folder are no replicates.
    assert find_models([draw(10, 1.0, own="a{step}"), draw(10, 2.0, own="b{step}")]) == []
    assert model_rows([]) == []


def test_where_a_run_has_two_at_a_step_names_tell_them_apart():
    entries = [
        draw(7, 1.0, run=run, own=own) for run in ("a", "b") for own in ("ema_{step}", "raw_{step}")
    ]
    assert names_of(entries) == {
        "ema_7": ["a/ema_7", "b/ema_7"],
        "raw_7": ["a/raw_7", "b/raw_7"],
    }


def test_without_a_step_only_draws_of_one_checkpoint_belong_together():
    entries = [
        draw(None, 1.0, run=run, noise=noise, own="best") for run in ("a", "b") for noise in (0, 1)
    ]
    assert names_of(entries) == {
        "a/best": ["a/best noise 0", "a/best noise 1"],
        "b/best": ["b/best noise 0", "b/best noise 1"],
    }


def test_a_run_counts_once_by_the_mean_of_its_draws():
    fids = np.array([[9.0, 9.2], [9.6, 9.8], [8.7, 8.9]])
    entries = [
        draw(10, float(fids[run, noise]), run=f"r{run}", noise=noise, stderr=0.1)
        for run in range(3)
        for noise in range(2)
    ]
    (model,) = find_models(entries)
    found = model.summarise("fid")
    assert (found.count, found.seeds) == (3, "training seeds")
    assert found.mean == pytest.approx(fids.mean())
    assert found.spread == pytest.approx(fids.mean(1).std(ddof=1))
    # The mean of two draws varies by the square root of two less.
    assert found.sampling == pytest.approx(0.1 / math.sqrt(2))
    assert model.summarise("kid") is None


def test_models_are_compared_by_their_replicates_and_the_sentence_says_which():
    for entries, words in ((RUNS, "over 3 training seeds"), (NOISES, "over 3 noise seeds")):
        gap = compare_models(find_models(entries), ["fid"])["fid", "step 10"]
        assert gap.difference == pytest.approx(5.1)
        # Welch's formula: two spreads of 0.2 and 0.1 over three each.
        assert gap.stderr == pytest.approx(math.sqrt((0.04 + 0.01) / 3))
        assert words in gap.sentence
        assert ("another training seed" in gap.sentence) == (entries is NOISES)


def test_tables_show_each_draw_and_below_the_models():
    each, first, *_ = format_tables(RUNS).split("\n\n")
    assert each == format_table(RUNS)
    # Single draws are not compared: the best of them is best by luck.
    assert each.splitlines()[0].split() == ["checkpoint", "FID", "KID"]
    assert each.splitlines()[1].split()[0] == "seed0/10"
    head, ten, twenty = first.splitlines()
    assert head.split() == ["model", "over", "FID", "FID", "spread", "FID", "-", "best"]
    assert ten.split()[:8] == ["step", "10", "3", "training", "seeds", "9.20", "+-", "0.12"]
    assert ten.split()[8] == "0.2"
    assert twenty.endswith("best")
    assert format_tables([draw(10, 1.0)]) == format_table([draw(10, 1.0)])


def test_a_metric_without_values_and_a_step_of_one_draw_have_their_place():
    entries = [*RUNS, draw(30, 3.0, run="runs/seed0", kid=math.nan)]
    row = model_rows(entries)[-1]
    assert row == ["step 30", "one draw", "3.000 +- 0.050", "", "best", "none", "", ""]


def test_short_names_keep_what_tells_draws_apart():
    assert list(short_names(RUNS).values())[:2] == ["seed0/10", "seed1/10"]
    assert list(short_names(NOISES).values())[:2] == ["10 noise 0", "10 noise 1"]


def test_csv_and_json_hold_the_draws_and_the_models(tmp_path):
    rows = list(csv.DictReader(format_csv(RUNS).splitlines()))
    assert [row["run"] for row in rows][:2] == ["runs/seed0", "runs/seed1"]
    assert {row["fid_difference"] for row in rows} == {""}
    assert "noise_seed" not in rows[0]
    assert next(csv.DictReader(format_csv(NOISES).splitlines()))["noise_seed"] == "0"
    run = RunFolder(tmp_path)
    for entry in NOISES:
        run.add(entry)
    found = json.loads(format_json(run))
    assert [(m["name"], len(m["sets"])) for m in found["replicates"]] == [
        ("step 10", 3),
        ("step 20", 3),
    ]
    assert found["replicates"][0]["metrics"]["fid"]["mean"] == pytest.approx(9.2)
    assert [(gap["best"], gap["other"]) for gap in found["comparisons"]] == [("step 20", "step 10")]


def test_lines_hold_the_draw_and_those_written_before_are_read():
    entry = NOISES[1]
    again = from_line(to_line(entry).encode())
    assert (again.name, again.run, again.noise_seed) == ("10.msgpack noise 1", None, 1)
    fields = json.loads(to_line(entry))
    del fields["noise_seed"], fields["run"]
    before = from_line(json.dumps(fields).encode())
    assert (before.run, before.noise_seed) == (None, None)
    with pytest.raises(ValueError, match="noise_seed': 'one', which is not of its type"):
        from_line(json.dumps(fields | {"noise_seed": "one"}).encode())


def test_the_page_shows_the_models_and_a_legend_that_names_the_band(page_of):
    text = page_of(RUNS)
    assert (
        "Step 20 has the lowest FID, 4.100 \N{PLUS-MINUS SIGN} 0.058 over 3 training seeds" in text
    )
    assert "; its lead over every other one is more than chance." in text
    assert '<th scope="row">step 10</th>' in text
    for words in ("each run", "a run", "mean of the runs", "1 standard deviation between runs"):
        assert f"</span>{words}</li>" in text
    assert "less the best" not in text


def test_the_page_of_noise_seeds_says_nothing_of_training(page_of):
    text = page_of(NOISES)
    assert "over 3 noise seeds; its lead" in text
    assert "another training seed may move it three times as far." in text
    for words in ("each draw", "mean of the noise seeds", "deviation between noise seeds"):
        assert f"{words}</li>" in text
    assert "</span>a run</li>" not in text
    assert page_of([draw(10, 1.0), draw(20, 2.0)]).count('class="legend"') == 0


def test_replicates_without_steps_are_dots_without_a_band(page_of):
    text = page_of([draw(None, 1.0 + noise, noise=noise, own="best") for noise in (0, 1)])
    assert "best has the lowest FID, 1.50 \N{PLUS-MINUS SIGN} 0.50 over 2 noise seeds" in text
    assert "</span>each draw</li>" in text
    assert "deviation between" not in text


def swept(step, cfg, fid, **more):
    settings = {"cfg": cfg, "mode": "fast"}
    name = name_row(f"{step}.msgpack", settings, more.get("noise_seed"))
    return make_entry(step, fid, name=name, swept=settings, **more)


SWEPT = [
    swept(step, cfg, step / 10 + cfg + seed / 100, noise_seed=seed)
    for step in (10, 20)
    for cfg in (1.0, 10.0, 2.5)
    for seed in (0, 1)
]


def test_settings_are_columns_of_every_table(tmp_path):
    run = RunFolder(tmp_path)
    for entry in SWEPT[::-1]:
        run.add(entry)
    # By step, then by the size of a setting, then by seed: 2.5 before 10.
    assert [entry.swept["cfg"] for entry in run.entries[:6]] == [1, 1, 2.5, 2.5, 10, 10]
    each, models, gaps = format_tables(run.entries).split("\n\n")
    assert each.splitlines()[0].split() == ["checkpoint", "cfg", "mode", "FID"]
    assert each.splitlines()[3].split()[:5] == ["10", "noise", "0", "2.5", "fast"]
    assert models.splitlines()[0].split()[:4] == ["model", "cfg", "mode", "over"]
    assert models.splitlines()[2].split()[:7] == [
        "step",
        "10",
        "2.5",
        "fast",
        "2",
        "noise",
        "seeds",
    ]
    assert gaps.splitlines()[2].split()[:5] == ["step", "10", "2.5", "fast", "1.5000"]
    row = list(csv.DictReader(format_csv(run.entries).splitlines()))[3]
    assert (row["noise_seed"], row["cfg"], row["mode"]) == ("1", "2.5", "fast")
    again = from_line(to_line(SWEPT[4]).encode())
    assert (again.swept, again.own_name) == ({"cfg": 2.5, "mode": "fast"}, "10.msgpack")
    fields = json.loads(to_line(SWEPT[4])) | {"swept": {"cfg": [1]}}
    with pytest.raises(ValueError, match="a setting a list, which is not of its type"):
        from_line(json.dumps(fields).encode())


def test_split_tables_repeat_the_settings():
    entries = [
        swept(10, cfg, 3.0, kid=1.0, precision=0.1, recall=0.2, coverage=0.3) for cfg in (1, 2)
    ]
    tables = format_table(entries).split("\n\n")
    assert len(tables) > 1
    assert all(table.split()[:3] == ["checkpoint", "cfg", "mode"] for table in tables)
