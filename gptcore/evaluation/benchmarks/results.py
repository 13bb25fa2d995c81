"""Results in the layout of lm-eval's results.json and samples_*.jsonl, and as a table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gptcore.evaluation.benchmarks.metrics import measure
from gptcore.evaluation.benchmarks.names import LOWER_IS_BETTER
from gptcore.evaluation.benchmarks.schemas import OUTPUT_TYPES
from gptcore.evaluation.benchmarks.suite import Benchmark, Sample
from gptcore.files import atomic_path, write_json

FILTER = "none"  # lm-eval can transform answers before it grades them, and names a metric after that
LARGE = 1e6  # from here on, a table is easier to read with exponents
Runs = Mapping[str, tuple[Benchmark, list[Sample]]]  # by name


def results(runs: Runs, model_args: dict[str, Any]) -> dict[str, Any]:
    """`*_interval` and `ungraded` are ours; lm-eval has no such fields."""
    each = {name: _result(benchmark, samples) for name, (benchmark, samples) in runs.items()}
    metrics = {name: list(samples[0].item.best()) for name, (_, samples) in runs.items()}
    return {
        "results": each,
        "group_subtasks": {},
        "configs": {name: _config(benchmark) for name, (benchmark, _) in runs.items()},
        "versions": {name: benchmark.version for name, (benchmark, _) in runs.items()},
        "n-shot": dict.fromkeys(runs, 0),
        "higher_is_better": {
            name: {metric: metric not in LOWER_IS_BETTER for metric in names} for name, names in metrics.items()
        },
        "n-samples": {
            name: {"original": len(benchmark.rows), "effective": each[name]["sample_len"]}
            for name, (benchmark, _) in runs.items()
        },
        "config": {"model": "gptcore", "model_args": model_args},
    }


def _result(benchmark: Benchmark, samples: Sequence[Sample]) -> dict[str, Any]:
    graded = [each for each in samples if not each.ungraded]
    best = [each.item.best() for each in samples if each.ungraded]
    found: dict[str, Any] = {
        "name": benchmark.name, "alias": benchmark.name, "sample_len": len(graded), "ungraded": len(best),
    }  # fmt: skip
    for name in samples[0].item.best():
        value, error, interval = measure(name, [each.grades[name] for each in graded], [each[name] for each in best])
        found |= {f"{name},{FILTER}": value, f"{name}_stderr,{FILTER}": error, f"{name}_interval,{FILTER}": interval}
    return found


def _config(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "task": benchmark.name,
        "dataset_path": benchmark.source,
        "output_type": OUTPUT_TYPES[benchmark.schema],
        "num_fewshot": 0,
        "metadata": {"version": benchmark.version},
    }


def write(folder: Path, found: dict[str, Any], runs: Runs, continued: list[dict[str, Any]], with_samples: bool) -> None:
    """A new folder with results.json, and a samples_*.jsonl for each task and for `continued` if asked for."""
    logged = {name: _samples(*each) for name, each in runs.items()} | (
        {"continuations": continued} if continued else {}
    )
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        write_json(temporary / "results.json", found)
        for name, lines in logged.items() if with_samples else ():
            text = "".join(f"{json.dumps(each, ensure_ascii=False, default=repr)}\n" for each in lines)
            (temporary / f"samples_{name.replace('/', '_')}.jsonl").write_text(text, encoding="utf-8")


def _samples(benchmark: Benchmark, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    asked = zip(benchmark.rows, samples, strict=False)  # not all rows have been asked
    return [_logged(number, row, sample) for number, (row, sample) in enumerate(asked)]


def _logged(doc_id: int, row: dict[str, Any], sample: Sample) -> dict[str, Any]:
    responses = [[each.logprob, each.is_greedy] for each in sample.answers]
    return {
        "doc_id": doc_id, "doc": row, "target": sample.item.target, "arguments": sample.item.arguments,
        "resps": [[each] for each in responses], "filtered_resps": responses, "filter": FILTER,
        "metrics": list(sample.grades), **sample.grades, **({"ungraded": sample.ungraded} if sample.ungraded else {}),
    }  # fmt: skip


def table(found: dict[str, Any], runs: Runs) -> list[str]:
    """A line for each metric, and one for each task of which the model could not be asked all items."""
    rows = [("TASK", "METRIC", "VALUE", "95 % INTERVAL", "ITEMS")]
    for name, each in found["results"].items():
        for metric in found["higher_is_better"][name]:
            low, high = each[f"{metric}_interval,{FILTER}"]
            between = f"{_shown(low)} to {_shown(high)}"
            rows.append((name, metric, _shown(each[f"{metric},{FILTER}"]), between, f"{each['sample_len']:,}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for name, (_, samples) in runs.items():
        if reasons := [each.ungraded for each in samples if each.ungraded]:
            lines.append(
                f"{name}: {len(reasons):,} of {len(samples):,} items could not be graded; the interval covers what "
                f"they might be. The first: {reasons[0]}"
            )
    return lines


def _shown(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:.4f}" if value < LARGE else f"{value:.3e}"
