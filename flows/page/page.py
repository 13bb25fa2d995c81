"""data/evaluation/report.html: one page about a run's model, with everything in it, to read, to keep and to send."""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from flows.page.charts import Curve, Points, chart
from flows.page.lineage import Origins, picture
from flows.page.style import STYLE
from gptcore.files import read_json, write_text
from gptcore.model.config import ModelConfig
from gptcore.model.counts import counts

REPORT = "report.html"
SIDES = (("baseline", "baseline"), ("model", "model"))
POINTS_PER_DOUBLING = 4  # of the loss by position
HEAD = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
KEY = '<p class="key"><i class="model"></i><span>model</span><i class="baseline"></i><span>baseline</span></p>'


@dataclass(frozen=True)
class Table:
    """The model beside `other`, `on` what. Rows are name, model, other, difference, interval."""

    on: str
    other: str
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Facts:
    """What the files of the stages do not know: the sentences about them, and what they belong to.

    The first of `tables` is that of the validation text. `version` is 0 if there is none, `start` empty likewise.
    """

    sentence: str
    verdict: str
    how_sure: str
    reached: str
    tables: Sequence[Table]
    run: str
    commit: str
    experiment: str | None
    version: int
    start: str
    outputs: Mapping[str, str]


def write_page(data: Path, facts: Facts) -> Path:
    """Write the page about what the stages have left in the folder `data`; it has no dates. Returns its path."""
    path = data / "evaluation" / REPORT
    write_text(path, page(data, facts))
    return path


def page(data: Path, facts: Facts) -> str:
    metrics = read_json(data / "evaluation" / "metrics.json")
    curves = {side: _rows(data / side / "curve.csv", data / side / "timing.csv") for side, _ in SIDES}
    name = f"gpt version {facts.version}" if facts.version else "gpt"
    first, *more = facts.tables
    parts = [
        f'<header><p class="name">{escape(name)}, made by the run {escape(facts.run)}</p>',
        f"<h1>{_prose(facts.sentence)}</h1>",
        f"<p>{_prose(facts.verdict)} {_prose(facts.reached)}</p>",
        f'<p class="soft">{_prose(facts.how_sure)}</p></header>',
        _tiles(metrics),
        f"<h2>Training</h2>{KEY}",
        f'<div class="pair">{_curve(curves, "tokens")}{_curve(curves, "seconds")}</div>',
        _table(replace(first, rows=[*first.rows, _flops(data, metrics)])),
        f'<p class="soft">{escape(_hardware(curves))}</p>',
        *map(_table, more),
        f'<div class="pair"><section><h2>What it makes of its context</h2>{KEY}',
        _figure("Validation loss by the number of tokens before, nats", _positions(data)),
        f"</section><section><h2>Its text</h2>{_samples(data / 'model' / 'samples.md')}</section></div>",
        f"<h2>What it is made of</h2>{_lineage(facts, name)}",
    ]
    title, body = f"<title>{escape(name)}</title><style>{STYLE}</style>", "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{HEAD}{title}</head>\n<body><main>\n{body}\n</main></body></html>\n'


def _prose(text: str) -> str:
    """Markdown's code, and nothing else of it."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _tiles(metrics: Mapping[str, Any]) -> str:
    ours, theirs = metrics["model"], metrics["baseline"]
    sooner = metrics["baseline_loss_reached"]["speedup"]
    tiles = [
        (f"{ours['bits_per_byte']:.4f}", f"bits per byte, against the baseline's {theirs['bits_per_byte']:.4f}"),
        (f"{ours['parameters']:,}", f"parameters, against {theirs['parameters']:,}"),
    ]
    if theirs["seconds"] is None:  # it was not trained here
        tiles.append((f"{ours['seconds']:,.0f} s", "of training"))
    else:
        tiles += [
            (f"{sooner:.1f}×", "as fast to the baseline's final loss")
            if sooner
            else ("never", "at the baseline's loss"),
            (f"{ours['seconds']:,.0f} s", f"of training, against {theirs['seconds']:,.0f} s"),
        ]
    return f'<div class="tiles">{"".join(f"<div><b>{a}</b><span>{b}</span></div>" for a, b in tiles)}</div>'


def _rows(curve: Path, timing: Path) -> list[dict[str, str]]:
    """The curve's rows with the seconds and the hardware of each, read without pandas (0.5 s)."""
    seconds = {row["step"]: row for row in _read(timing)}
    return [{**seconds[row["step"]], **row} for row in _read(curve)]


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _curve(curves: Mapping[str, list[dict[str, str]]], over: str) -> str:
    drawn = [Curve(name, side, [(float(row[over]), float(row["val_loss"])) for row in curves[side]])
             for side, name in SIDES if curves[side]]  # fmt: skip
    return _figure(f"Validation loss by {over} of training, nats", chart(drawn, over))


def _figure(caption: str, drawing: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{drawing}</figure>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in ("", "model", table.other, "difference, 95 %"))
    body = "".join(_row(*row) for row in table.rows)
    shown = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return f"<h2>On {escape(table.on)}</h2>{shown}"


def _row(name: str, ours: str, theirs: str, difference: str, interval: str) -> str:
    known = f"<br><small>{escape(interval)}</small>" if interval else ""
    return f"<tr><th>{escape(name)}</th><td>{ours}</td><td>{theirs}</td><td>{difference}{known}</td></tr>"


def _flops(data: Path, metrics: Mapping[str, Any]) -> Sequence[str]:
    """Of training, by the formula that `gptcore configure` prints too."""
    ours, theirs = (_training_flops(data / side, metrics[side]["tokens"]) for side in ("model", "baseline"))
    difference = "" if ours is None or theirs is None else f"{ours - theirs:+,.1f}"
    return ("TFLOPs of training", *("" if each is None else f"{each:,.1f}" for each in (ours, theirs)), difference, "")


def _training_flops(folder: Path, tokens: int | None) -> float | None:
    """In TFLOPs; None of a model that was not trained here."""
    if tokens is None:
        return None
    values = read_json(folder / "export" / "config.json")
    vocab_size = values.pop("vocab_size")
    adapter = folder / "export" / "adapter_config.json"
    ranks = read_json(adapter)["rank_pattern"] if adapter.exists() else None
    return counts(ModelConfig(**values), vocab_size, ranks).flops_per_token * tokens / 1e12


def _hardware(curves: Mapping[str, list[dict[str, str]]]) -> str:
    if not curves["baseline"]:
        return f"The model was trained on {curves['model'][-1].get('hardware') or 'hardware that is not recorded'}."
    ours, theirs = (curves[side][-1].get("hardware") for side in ("model", "baseline"))
    if not (ours and theirs):
        return "On which hardware they were trained is not recorded."
    if ours == theirs:
        return f"Both were trained on {ours}."
    return f"The model was trained on {ours}, the baseline on {theirs}: do not compare their seconds."


def _positions(data: Path) -> str:
    rows = _read(data / "evaluation" / "position.csv")
    drawn = [Curve(name, side, _smoothed(rows, f"{side}_loss")) for side, name in SIDES]
    furthest = [int(row["tokens_before"]) for row in rows]
    return chart(drawn, "tokens before, in the window", is_log=max(furthest) > 4 * min(furthest))


def _smoothed(rows: Iterable[Mapping[str, str]], name: str) -> Points:
    """As in gptcore.evaluation.positions: neighbours averaged, as many points for each doubling."""
    sums: dict[int, list[float]] = {}
    for row in rows:
        before, tokens = int(row["tokens_before"]), int(row["tokens"])
        into = sums.setdefault(round(math.log2(before) * POINTS_PER_DOUBLING), [0.0, 0.0, 0.0])
        for place, value in enumerate((tokens, tokens * before, tokens * float(row[name]))):
            into[place] += value
    most = max(tokens for tokens, *_ in sums.values())
    return [(before / tokens, loss / tokens) for tokens, before, loss in sums.values() if tokens > most / 100]


def _samples(path: Path) -> str:
    """The last one, and those before it to unfold."""
    found = re.findall(r"## (.*?)\n\n```text\n(.*?)\n```\n", path.read_text(encoding="utf-8"), re.DOTALL)
    if not found:
        return "<p>No text was sampled: <code>train.samples</code> is 0.</p>"
    *before, last = found
    shown = f"<pre>{escape(last[1])}</pre>"
    if not before:
        return shown
    earlier = "".join(f'<p class="soft">{escape(step)}</p><pre>{escape(text)}</pre>' for step, text in reversed(before))
    return f"{shown}<details><summary>Earlier in its training</summary>{earlier}</details>"


def _lineage(facts: Facts, name: str) -> str:
    known = [("git commit", f"git show {facts.commit}")]
    if facts.experiment:
        known.append(("DVC experiment: parameters, code and results", f"dvc exp apply {facts.experiment}"))
    if facts.version:
        known += [
            ("every link, with its command", f"gptcore lineage {facts.version}"),
            ("the verdict again", f"gptcore registry judge {facts.version}"),
            ("the version again", f"gptcore rebuild {facts.version}"),
        ]
    listed = "".join(f"<dt>{what}</dt><dd><code>{escape(how)}</code></dd>" for what, how in known)
    drawn = picture(Origins(facts.outputs, facts.commit, facts.run, name, facts.start))
    return f'<div class="pair"><figure>{drawn}</figure><figure><dl>{listed}</dl></figure></div>'
