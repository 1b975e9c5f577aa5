"""What a person sees of the rules' verdict: debug.html, self-contained, and its pictures as PNGs."""

import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from smdebug.trials import LocalTrial

from breeds.base import figures
from breeds.debugger import charts, tensorboard
from breeds.debugger.charts import Mark
from breeds.debugger.rules import NoUsableData, open_trial, saved

MAX_LAYERS = 8  # lines in one chart that can be told apart
MAX_HISTOGRAMS = 9
STEP = re.compile(r"\bat step (\d+)")


def write(tensors: Path, output: Path, verdict: dict[str, Any], with_tensorboard: bool = False) -> None:
    """Write debug.html, losses.png, gradients.png, activations.png, and tensorboard/ where asked, into `output`.

    `verdict` is the content of debug.json. Without tensors the page says so, and has the table alone.
    """
    try:
        trial = open_trial(tensors)
    except NoUsableData as error:
        (output / "debug.html").write_text(page(verdict, [], missing=str(error)))
        return
    shown = [
        ("losses", "Dashed where a rule fired first, red where it blocks.", losses(trial, verdict)),
        (
            "gradients",
            "At the training steps it was saved. A tensor far below the others hardly learns; one that grows explodes.",
            gradients(trial),
        ),
        ("activations", "Inputs of ReLUs, then gradients: how their values are spread.", activations(trial)),
    ]
    job = str(saved.state(trial).get("training_job") or "")
    (output / "debug.html").write_text(page(verdict, shown, job=job))
    for name, _, figure in shown:
        figures.save(figure, output / f"{name}.png")
    if with_tensorboard:
        tensorboard.write(trial, output / "tensorboard")


def losses(trial: LocalTrial, verdict: dict[str, Any]) -> Figure:
    """Each step's training loss, each evaluation's mean, and where rules fired."""
    series: dict[str, list[tuple[float, float]]] = {}
    names = saved.names(trial, collections="losses")
    for name, phases in (saved.loss_phases(trial) if names else {}).items():
        which = f" {name}" if len(names) > 1 else ""
        series[f"training loss{which}"] = [
            (step, value)
            for step in saved.steps(trial, name)
            if (value := saved.statistic(trial, name, step, "mean")) is not None
        ]
        series[f"mean validation loss{which}"] = [(p.last_step, p.mean_loss) for p in phases if not p.training]
    drawn = {name: points for name, points in series.items() if points}
    counted = "step (training and evaluation counted together)"
    return charts.lines(drawn, title="Loss", x_title=counted, marks=marks(verdict))


def marks(verdict: dict[str, Any]) -> list[Mark]:
    """Where each rule fired first. SageMaker's own rules tell the step in their StatusDetails."""
    found = []
    for rule in verdict["rules"]:
        if rule["RuleEvaluationStatus"] == "IssuesFound":
            name = rule["RuleConfigurationName"]
            told = [int(step) for step in STEP.findall(rule["StatusDetails"])]
            steps = sorted({finding["step"] for finding in rule["findings"]} or set(told))
            found += [Mark(x=step, text=name, strong=rule["blocks"]) for step in steps[:1]]
    return found


def gradients(trial: LocalTrial) -> Figure:
    """Mean |gradient| over time; of many tensors only those with the largest and the smallest are named."""
    series = {name: sizes(trial, name) for name in saved.names(trial, regex="gradient/")}
    known = {name.removeprefix("gradient/"): points for name, points in series.items() if points}
    ordered = sorted(known, key=lambda name: _middle(known[name]), reverse=True)
    others = ordered[MAX_LAYERS // 2 : -MAX_LAYERS // 2] if len(ordered) > MAX_LAYERS else []
    of_many = f": the largest and the smallest of {len(known)}" if others else ""
    return charts.lines(
        {name: known[name] for name in ordered if name not in others},
        title=f"Mean |gradient| of each trained tensor{of_many}",
        x_title="step",
        others=[known[name] for name in others],
        logarithmic=True,
    )


def sizes(trial: LocalTrial, name: str) -> list[tuple[int, float]]:
    """(global step, mean |value|) at the training steps a tensor was saved at, in full or as that reduction."""
    found = [(step, saved.statistic(trial, name, step, "mean", absolute=True)) for step in saved.steps(trial, name)]
    return [(step, size) for step, size in found if size is not None]


def _middle(points: Sequence[tuple[int, float]]) -> float:
    """The median of the finite values; infinite where none is."""
    finite = [value for _, value in points if math.isfinite(value)]
    return median(finite) if finite else math.inf


def activations(trial: LocalTrial) -> Figure:
    """Histograms at the first step: inputs of ReLUs, evenly chosen where there are many, then gradients while there is
    room."""
    inputs, own = saved.names(trial, regex=r".*(relu|ReLU)\d*_input"), saved.names(trial, regex="gradient/")
    every = len(inputs) / min(len(inputs) or 1, MAX_HISTOGRAMS)
    names = [inputs[int(number * every)] for number in range(min(len(inputs), MAX_HISTOGRAMS))] + own
    first = {name: value.ravel() for name in names if (value := _first(trial, name)) is not None}
    return charts.histograms(dict(list(first.items())[:MAX_HISTOGRAMS]), title="Values at the first step")


def _first(trial: LocalTrial, name: str) -> np.ndarray | None:
    """A tensor at the first training step it was saved in full."""
    steps = saved.steps(trial, name)
    return saved.full(trial, name, steps[0]) if steps else None


def page(verdict: dict[str, Any], shown: Sequence[tuple[str, str, Figure]], *, job: str = "", missing: str = "") -> str:
    """The page; every text of a tensor or a job in it is escaped. `missing`: why there are no figures."""
    rows = "\n".join(_row(rule) for rule in verdict["rules"])
    pictures = "\n".join(
        f"<figure id='{name}'>{figures.svg(figure, f'{name}: {caption}')}"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for name, caption, figure in shown
    )
    note = f"<p class='Error'>No curves: {escape(missing)}</p>" if missing else ""
    passes = "the rules let this model pass" if not verdict["blocking"] else "the gate refuses this model"
    return PAGE.format(
        verdict=escape(verdict["verdict"]),
        blocking=verdict["blocking"],
        passes=passes,
        job=f" Training job {escape(job)}." if job else "",
        rows=rows,
        pictures=pictures + note,
        style=STYLE,
    )


def _row(rule: dict[str, Any]) -> str:
    state, blocks = rule["RuleEvaluationStatus"], rule["blocks"]
    finding = rule["findings"][0] if rule["findings"] else {}
    cells = [
        rule["RuleConfigurationName"],
        state,
        "yes" if blocks else "no",
        f"{finding['tensor']}, step {finding['step']}" if finding else "",
        _number(finding.get("value", "")),
        _number(finding.get("threshold", "")),
        rule["StatusDetails"],
    ]
    inside = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    weight = "blocks" if blocks and state != "NoIssuesFound" else ""
    return f"<tr class='{escape(state)} {weight}'>{inside}</tr>"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | int) else str(value)


STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; background: #fff; color: #222831; max-width: 1060px; margin: 2rem auto;
       padding: 0 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: 14px }
th, td { text-align: left; vertical-align: top; padding: 6px 10px; border-bottom: 1px solid #dfe3e8 }
th { color: #5a6270; font-weight: 600 }
td:nth-child(1) { font-weight: 600 }
tr.NoIssuesFound td:nth-child(2) { color: #2e7d32 }
tr.IssuesFound td:nth-child(2), tr.Error td:nth-child(2), tr.Stopped td:nth-child(2), .Error { color: #8a6d00 }
tr.blocks td:nth-child(2) { color: #c62828; font-weight: 700 }
figure { margin: 2rem 0 } figcaption { color: #5a6270 }
svg { max-width: 100%; height: auto; background: #fff; border-radius: 6px }
@media (prefers-color-scheme: dark) {
  body { background: #15181d; color: #e3e6ea }
  th, figcaption { color: #a3abb6 } th, td { border-color: #333a43 }
  tr.NoIssuesFound td:nth-child(2) { color: #7bc47f }
  tr.IssuesFound td:nth-child(2), tr.Error td:nth-child(2), tr.Stopped td:nth-child(2), .Error { color: #e0bd4a }
  tr.blocks td:nth-child(2) { color: #ff8a80 }
}
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Debugger: {verdict}</title><style>{style}</style></head><body>
<h1>Debugger: {verdict}</h1>
<p>{blocking} blocking: {passes}.{job}</p>
<div class="wide"><table><thead><tr><th>rule</th><th>status</th><th>blocks</th><th>where first</th><th>value</th>
<th>threshold</th><th>what it says, and what helps</th></tr></thead><tbody>
{rows}
</tbody></table></div>
{pictures}
</body></html>
"""
