"""What a person sees: debug.html, its pictures, and TensorBoard's files, made of tensors that the real hook saved."""

import json
import re
import struct
import sys
from html.parser import HTMLParser

import pytest
import torch
from breeds.base import figures
from breeds.debugger import charts, hook
from matplotlib.text import Text
from PIL import Image
from torch import nn


@pytest.fixture(scope="module")
def written(script, tensors, tmp_path_factory):
    """The Debug step's output where VanishingGradient fires and blocks."""
    output = tmp_path_factory.mktemp("out")
    done = script(
        *("debug", "--tensors", tensors, "--output", output, "--tensorboard", "on"),
        *("--rule-parameters", "VanishingGradient.threshold=1000", "--blocking-rules", "VanishingGradient"),
    )
    assert done.returncode == 0, done.stderr
    return output


class Page(HTMLParser):
    """Tags that are open, all cells of the table by row, and whatever the page would load."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.rows, self.loads, self.rows_of = [], [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        self.open += [] if tag in ("meta", "br") else [tag]
        if tag == "tr":
            self.rows.append([])

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open:
            self.rows[-1].append(data)


def test_the_page_has_the_verdict_of_every_rule_and_needs_nothing_else(written):
    text = (written / "debug.html").read_text()
    page, verdict = Page(text), json.loads((written / "debug.json").read_text())
    assert page.open == [] and page.loads == []
    rows = {row[0]: row for row in page.rows if row}
    assert set(rows) == {rule["RuleConfigurationName"] for rule in verdict["rules"]}
    rule = next(r for r in verdict["rules"] if r["RuleConfigurationName"] == "VanishingGradient")
    first = rule["findings"][0]
    name, state, blocks, where, value, threshold, says = rows["VanishingGradient"]
    assert (state, blocks, threshold) == ("IssuesFound", "yes", "1000")
    assert where == f"{first['tensor']}, step {first['step']}" and float(value) == pytest.approx(
        first["value"], rel=1e-3
    )
    assert "what" not in says and first["advice"] in says
    assert text.count("<svg") == text.count('role="img" aria-label="') == 3
    assert 'name="viewport"' in text and "<title>Debugger: " in text and "prefers-color-scheme: dark" in text
    assert "<script" not in text and "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_the_curves_name_losses_layers_and_the_rule_that_fired(written):
    text = (written / "debug.html").read_text()
    for words in ("training loss", "mean validation loss", "Head_hidden.weight", "relu_input_0"):
        assert words in text
    losses = text[text.index("id='losses'") : text.index("id='gradients'")]
    assert ">VanishingGradient</text>" in losses and figures.RED in losses


def test_the_pictures_are_pngs_of_the_same_charts(written):
    for name in ("losses", "gradients", "activations"):
        with Image.open(written / f"{name}.png") as picture:
            picture.load()
            assert picture.format == "PNG" and len(picture.getcolors(1 << 24)) > 10


def test_without_tensors_the_page_says_so(script, tmp_path):
    script("debug", "--tensors", tmp_path / "absent", "--output", tmp_path / "out")
    text = (tmp_path / "out" / "debug.html").read_text()
    assert "No curves:" in text and "no Debugger tensors" in text and "<svg" not in text


def test_texts_of_tensors_and_jobs_cannot_become_part_of_the_page(tensors, tmp_path):
    from breeds.debugger import debug_report

    evil = "<script>alert(1)</script>"
    finding = {"tensor": evil, "step": 1, "value": evil, "threshold": 1, "advice": evil}
    rule = {"RuleConfigurationName": evil, "RuleEvaluationStatus": "IssuesFound", "StatusDetails": evil, "blocks": True}
    verdict = {"verdict": evil, "blocking": 1, "summary": evil, "rules": [{**rule, "findings": [finding]}]}
    debug_report.write(tensors, tmp_path, verdict)
    assert "<script" not in (tmp_path / "debug.html").read_text()


def test_the_step_of_a_managed_rule_is_read_from_its_details():
    from breeds.debugger import debug_report

    details = (
        "RuleEvaluationConditionMet: Evaluation of the rule Overfit at step 42 resulted in the condition being met"
    )
    rule = {"RuleConfigurationName": "Overfit", "RuleEvaluationStatus": "IssuesFound", "StatusDetails": details}
    marks = debug_report.marks({"rules": [{**rule, "blocks": False, "findings": []}]})
    assert [(mark.x, mark.text, mark.strong) for mark in marks] == [(42, "Overfit", False)]


def test_a_failure_while_drawing_leaves_the_verdict(scripts, monkeypatch, tensors, tmp_path, capsys):
    from breeds.debugger import debug_report

    def broken(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(debug_report, "page", broken)
    monkeypatch.setattr(sys, "argv", ["debug.py", "--tensors", str(tensors), "--output", str(tmp_path)])
    scripts("debug").main()
    assert json.loads((tmp_path / "debug.json").read_text())["verdict"]
    assert "debug.html was not written: OSError: no space left" in capsys.readouterr().out


@pytest.mark.parametrize("values", [[], [float("nan")], [0.0], [float("inf"), -1.0], [1e-30, 1e30], [3.0, 3.0]])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_any_numbers_can_be_drawn(tmp_path, values, logarithmic):
    points = list(enumerate(values))
    for series in ({"loss": points}, {"loss": points, "other": [(0, 1.0), (4, 2.0)]}):
        figure = charts.lines(series, title="Loss", x_title="step", others=[points], logarithmic=logarithmic)
        assert not re.search(r'["> ,](nan|-?inf)["<,]', figures.svg(figure, "a chart"))
        figures.save(figure, tmp_path / "chart.png")
        with Image.open(tmp_path / "chart.png") as picture:
            assert picture.width > 100


def test_the_legend_tells_what_its_line_cannot_show():
    nan, gradients = [(0, 1.0), (7, float("nan")), (9, float("inf"))], [(0, 0.0), (1, 0.5)]
    figure = charts.lines({"loss": nan, "dead": gradients}, title="t", x_title="step", logarithmic=True)
    drawn = figures.svg(figure, "a chart")
    assert ">loss (not a finite number at step 7 and later)<" in drawn
    assert ">dead (0 at 1 of 2 steps)<" in drawn


def test_a_point_of_a_chart_tells_its_value_where_the_mouse_is():
    figure = charts.lines({"loss <a>": [(3, 0.25)]}, title="t", x_title="step")
    assert "<title>loss &lt;a&gt;, step 3: 0.25</title>" in figures.svg(figure, "a chart")


NINE = {f"PoorWeightInitialization{n}": share for n, share in enumerate((0, 0, 0.01, 0.2, 0.5, 0.93, 0.97, 1, 1))}
LAST_TWO = {"Overfit": 0.9, "Overtraining, at length": 0.925}  # the first alone would have room to the right


@pytest.mark.parametrize("last", [1, 120, 100_000])
@pytest.mark.parametrize("shares", [NINE, LAST_TWO])
def test_the_words_of_many_marks_stand_above_the_chart_and_cross_neither_each_other_nor_a_line(last, shares):
    marks = [charts.Mark(x=round(last * share), text=text, strong=True) for text, share in shares.items()]
    figure = charts.lines({"loss": [(0, 1.0), (last, 2.0)]}, title="Loss", x_title="step", marks=marks)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    words = {word.get_text(): (Text.get_window_extent(word), word.arrow_patch.get_extents()) for word in axes.texts}
    assert len(words) == len(marks)
    for text, (word, _) in words.items():
        assert word.x0 > 0 and word.x1 < figure.bbox.width and word.y0 > axes.bbox.y1, text
        assert not [line for _, line in words.values() if word.x0 + 1 < line.x0 < word.x1 - 1 and line.y1 > word.y0 + 2]
    rows = sorted((word.y0, word.y1) for word, _ in words.values())
    assert all(above[0] >= below[1] - 2 for below, above in zip(rows, rows[1:], strict=False))


@pytest.fixture(scope="module")
def of_many_layers(tmp_path_factory, hook_configuration):
    """The report of a network with 53 trained tensors, half of which are dead from the start."""
    from breeds.debugger import debug_report

    root = tmp_path_factory.mktemp("deep")
    layers = [nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU()) for _ in range(13)]
    model, criterion = nn.Sequential(*layers, nn.Linear(8, 3, bias=False)), nn.CrossEntropyLoss()
    nn.init.constant_(layers[6][1].bias, -100.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SMDEBUG_CONFIG_FILE_PATH", str(hook_configuration(root, root / "tensors")))
        debugger = hook.create()
    debugger.register(model, criterion)
    for _ in range(2):
        debugger.train()
        for _ in range(3):
            criterion(model(torch.randn(12, 8)), torch.arange(12) % 3).backward()
    debugger.close()
    debug_report.write(root / "tensors", root, {"verdict": "IssuesFound", "blocking": 1, "summary": "", "rules": []})
    return root


def test_of_many_layers_the_extremes_have_names_and_dead_ones_are_told(of_many_layers):
    text = (of_many_layers / "debug.html").read_text()
    gradients = text[text.index("id='gradients'") : text.index("id='activations'")]
    assert "the largest and the smallest of 53" in gradients and ">the other 45<" in gradients
    assert gradients.count("(0 at 6 of 6 steps)") == 4
    activations = text[text.index("id='activations'") :]
    assert activations.count("relu_input") == 9 and "relu_input_0" in activations
    for name in ("losses", "gradients", "activations"):
        assert (of_many_layers / f"{name}.png").stat().st_size > 5000


def records(path) -> list[bytes]:
    """The records of an event file. Layout: length uint64, its checksum, data, its checksum (TFRecord)."""
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        found.append(data[at + 12 : at + 12 + length])
        at += 12 + length + 4
    return found


def test_tensorboard_gets_losses_of_both_phases_and_histograms(written, tensors):
    from breeds.debugger.rules import open_trial
    from smdebug import modes
    from smdebug.core.tfevent.proto.event_pb2 import Event

    trial = open_trial(tensors)
    (loss,) = trial.tensor_names(collection="losses")
    for run, mode in (("training", modes.TRAIN), ("validation", modes.EVAL)):
        (path,) = (written / "tensorboard" / run).glob("*tfevents*")
        events = [Event.FromString(record) for record in records(path)]
        values = [value for event in events for value in event.summary.value]
        losses = [value.simple_value for value in values if value.tag.endswith(loss.split("/")[-1])]
        expected = [float(trial.tensor(loss).value(step, mode=mode)) for step in trial.tensor(loss).steps(mode=mode)]
        assert losses == pytest.approx(expected)
        if run == "training":
            assert any(value.HasField("histo") and "gradient/" in value.tag for value in values)
