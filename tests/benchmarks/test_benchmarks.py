"""The benchmarks run, measure what they say, and the page says what they measured."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks import __main__ as all_scripts
from benchmarks import (
    engine,
    goals,
    jobs,
    machine,
    memory,
    orchestrators,
    performance,
    photos,
    scale,
    seed_training,
    sizes,
)
from benchmarks.goals import GOALS
from tests.locks import versions
from tests.waiting import HANG

ROOT = Path(__file__).parents[2]
SCRIPTS = {script.name for script in all_scripts.SCRIPTS}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 drawn pictures, whether or not the photos are at hand."""
    tmp_path = tmp_path_factory.mktemp("drawn")
    return photos.write_data_set(tmp_path / "raw" / "dogs.zip", 36, archive=tmp_path / "none.zip")


def result(figures: dict[str, float], series: dict | None = None) -> dict:
    return {
        "date": "2026-11-23",
        "machine": "2 CPUs",
        "load": 0.1,
        "tables": [{"title": "A table", "rows": [["what", "1.0 s", "—"]]}],
        "figures": figures,
        "series": series or {},
    }


def write_results(folder: Path, kind: str, **scripts: dict) -> None:
    (folder / kind).mkdir(parents=True, exist_ok=True)
    for name, content in scripts.items():
        (folder / kind / f"{name}.json").write_text(json.dumps(content))


def test_every_class_of_a_data_set_is_in_every_split_and_no_file_is_there_twice(data_set: Path):
    with zipfile.ZipFile(data_set) as zipped:
        paths = [Path(name) for name in zipped.namelist()]
        contents = {zipped.read(name) for name in zipped.namelist()}
    assert len(paths) == len(contents) == 36
    classes = {path.parent.name for path in paths}
    assert {(path.parts[-3], path.parts[-2]) for path in paths} == {
        (split, name) for split in ("train", "valid", "test") for name in classes
    }


def test_a_larger_data_set_repeats_the_photos_as_new_files_that_prepare_takes(tmp_path: Path):
    small = photos.write_data_set(tmp_path / "small.zip", 30, archive=tmp_path / "none.zip")
    photos.write_data_set(tmp_path / "raw" / "large.zip", 90, archive=small)
    done = jobs.script("prepare", "--input", tmp_path / "raw", "--output", tmp_path / "prepared")
    assert json.loads((tmp_path / "prepared" / "manifest" / "manifest.json").read_text())["files_seen"] == 90
    assert done.rate > 0


def test_a_script_that_fails_says_what_it_printed():
    with pytest.raises(RuntimeError, match="prepare.py ended with 1"):
        jobs.script("prepare", "--input", "/nowhere", "--output", "/nowhere")


def test_the_documents_training_learns_with_its_settings_and_scales_to_the_whole_way(data_set: Path):
    training = seed_training.Training(data_set, "resnet18", seed_training.B1)
    rate = training.train(4)
    accuracy, evaluated = training.evaluate("test", 4)
    assert rate.images == evaluated.images == 4 and 0 <= accuracy <= 1
    assert [parameter.shape[0] for parameter in training.optimizer.param_groups[0]["params"]] == [128, 128, 6, 6]

    one_second_each = seed_training.Rate(1, [1.0])
    counts = {"train": 10, "valid": 2, "test": 3}
    took = seed_training.whole_way(counts, one_second_each, one_second_each, trials=2, epochs=5)
    assert took == 3 * (5 * 12 + 3)


def test_the_peak_of_a_process_counts_its_children(tmp_path: Path):
    hungry = "import subprocess, sys, time; x = bytearray(b'x') * (60 << 20); time.sleep(0.5)"
    parent = tmp_path / "parent.py"
    parent.write_text(f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {hungry!r}], check=True)\n")
    peak, _ = memory.peak_of(parent)
    assert 60 * memory.MIB < peak.own <= peak.everything < 200 * memory.MIB


def test_a_table_is_kept_with_its_figures_and_its_machine(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv(machine.RESULTS, str(tmp_path / "kept.json"))
    machine.print_table("One", [("a", "1 s", "—")], figures={"a": 1.23456789})
    machine.print_table("Two", [("b", "2 s", "—")], series={"b": [[1, 2]]})
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert [table["title"] for table in kept["tables"]] == ["One", "Two"]
    assert kept["figures"] == {"a": 1.23457} and kept["series"] == {"b": [[1, 2]]}
    assert kept["machine"] == machine.describe() in capsys.readouterr().out


def test_the_page_says_met_missed_and_not_yet_and_prefers_full_results(tmp_path: Path):
    write_results(tmp_path, "subset", prepare=result({"ratio": 3.0}), tuning=result({"trials_per_minute": 50}))
    write_results(tmp_path, "full", prepare=result({"ratio": 4.4}))
    performance.write(tmp_path, tmp_path / "docs" / "performance.md")
    page = (tmp_path / "docs" / "performance.md").read_text()
    rows = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert "| 4.4x | met | `benchmarks/prepare.py`, full, 2026-11-23 |" in rows["prepare, images/s on all cores"]
    assert "| 50 | **missed** |" in next(row for what, row in rows.items() if what.startswith("trials per minute"))
    assert "| not yet |" in rows["peak memory of embed"]
    assert "Why the missed ones were missed" in page


def test_the_plots_are_small_and_the_same_for_the_same_figures(tmp_path: Path):
    steps = {step: [[1000, 3.0], [3000, 9.0]] for step in (*sizes.STEPS, "dollars")}
    write_results(
        tmp_path,
        "full",
        cores=result({}, {"prepare": [[1, 300], [2, 590]]}),
        sizes=result({}, steps),
        load_test=result({}, {"endpoint": [[1, 20, 30], [2, 25, 60]]}),
    )
    pictures = []
    for name in ("a", "b"):
        performance.write(tmp_path, tmp_path / name / "performance.md")
        pictures.append({path.name: path.read_bytes() for path in (tmp_path / name / "pictures").iterdir()})
    assert pictures[0] == pictures[1]
    assert len(pictures[0]) == 3 and all(len(picture) < 150_000 for picture in pictures[0].values())


def test_every_goal_is_measured_by_a_script_that_make_bench_runs():
    assert {goal.script for goal in GOALS} <= SCRIPTS
    assert all((ROOT / "benchmarks" / f"{name}.py").is_file() for name in SCRIPTS)
    assert all((goal.least is None) != (goal.most is None) for goal in GOALS)


def test_what_was_measured_has_the_figures_that_the_goals_are_judged_by():
    found = performance.read(performance.RESULTS)
    figures = {name: result.content["figures"] for name, result in found.items()}
    assert not [goal.what for goal in GOALS if goal.script in figures and goal.value(figures) is None]


def test_the_line_through_measured_sizes_gives_the_slope_and_what_is_fixed():
    per_image, fixed = sizes.slope([(100, 3.0), (200, 5.0), (300, 7.0)])
    assert (per_image, fixed) == (pytest.approx(0.02), pytest.approx(1.0))


RATES = scale.Slopes(prepare=1000, embed=17, head=50_000, evaluate=17)


def test_a_hundred_times_the_images_cost_more_than_in_proportion_since_every_host_reads_them_all():
    small, large = (sum(step.dollars for step in scale.steps(images, RATES)) for images in scale.SIZES)
    assert 100 * small < large < 300 * small


def test_the_cost_table_names_the_longest_step_and_what_no_disk_holds():
    assert "The longest step is Embed" in scale.cost_table(1_000_000, RATES)
    assert "**over the disk**" in scale.cost_table(100_000_000, RATES)


def test_more_hosts_end_sooner_but_at_less_than_perfect_speed():
    import random

    alone = 3600.0 * 100
    few, many = (scale.simulate_step(alone, hosts, random.Random(1)) for hosts in (4, 64))
    assert alone / 64 < many < few < alone


def test_every_table_of_docs_scale_is_made_from_what_was_measured():
    found = {
        "cores": performance.Result("cores", "subset", result({"prepare_1": 1000, "embed-resnet50_1": 17})),
        "sizes": performance.Result("sizes", "full", result({"head_images_per_second": 50_000})),
    }
    page = scale.filled(scale.PAGE.read_text(), scale.tables(found))
    assert "`benchmarks/sizes.py`, full, 2026-11-23" in page
    assert "31,250 images/s and epoch" in page


def test_docs_scale_has_a_place_for_every_table_and_nothing_else_changes():
    page = scale.PAGE.read_text()
    names = re.findall("<!-- table: (.+) -->", page)
    made = {name: f"the table {name}" for name in names}
    once = scale.filled(page, made)
    assert scale.filled(once, made) == once and all(table in once for table in made.values())
    assert set(names) == {"slopes", "assumptions", "million", "hundred-million", "hosts", "gradients"}
    with pytest.raises(ValueError, match="no place for the table other"):
        scale.filled(page, {"other": ""})


def test_the_other_orchestrators_are_locked_and_the_makefile_installs_them():
    assert {"kfp", "dagster"} <= set(versions(ROOT / "benchmarks" / "engine.lock"))
    assert "benchmarks/engine.lock" in (ROOT / "Makefile").read_text()


def test_the_engine_names_arms_that_the_orchestrators_have():
    assert set(engine.OTHERS) == set(orchestrators.ARMS)


def test_an_unknown_script_is_refused_by_name():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"], cwd=ROOT, capture_output=True, text=True, timeout=HANG
    )
    assert done.returncode == 2 and "there is no speed" in done.stderr


def test_a_gpu_that_is_not_there_is_said(monkeypatch, capsys):
    from benchmarks import gpu

    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    gpu.main()
    assert "No GPU here" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [script.name for script in all_scripts.SCRIPTS if script.quick is not None])
def test_a_script_runs_at_its_quick_size(name: str, tmp_path: Path):
    command = [sys.executable, "-m", "benchmarks", "--quick", name, "--results", str(tmp_path)]
    page = tmp_path / "docs" / "performance.md"
    done = subprocess.run([*command, "--page", str(page)], cwd=ROOT, capture_output=True, text=True, timeout=1790)
    assert done.returncode == 0, done.stdout + done.stderr
    assert page.is_file()


def test_a_missed_goal_says_why_where_it_is_known():
    missed = goals.Goal(what="it", against="—", script="s", figure="f", least=2, missed="the disk was slow.")
    assert missed.wanted == "at least 2.0x" and not missed.met(1.9) and missed.met(2)
