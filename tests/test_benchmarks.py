"""What makes a comparison fair: equal precision, equal environment, a free machine, and intervals over seeds."""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gptcore.config.presets import compose, flatten
from tests.support.closure import ROOT

FIGURES = {"nanogpt float32": 2.0, "gptcore float32": 3.0, "nanogpt bfloat16": 1.0, "gptcore bfloat16": 5.0}


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts import each other by their bare names."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def test_sides_are_compared_at_the_same_precision_and_each_at_its_best() -> None:
    from contest import comparisons

    measured = {side: {"rate": value} for side, value in FIGURES.items()}
    assert comparisons(measured, "rate", max) == [
        "nanogpt float32 2, gptcore float32 3, ratio 1.50 (the same precision)",
        "nanogpt bfloat16 1, gptcore bfloat16 5, ratio 5.00 (the same precision)",
        "nanogpt float32 2, gptcore bfloat16 5, ratio 2.50 (each side's best)",
    ]
    without = {side: each for side, each in measured.items() if side.endswith("float32")}
    assert len(comparisons(without, "rate", max)) == 1


def test_both_sides_have_the_same_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """gptcore.stages sets GOMP_SPINCOUNT in the process that imports it: the children do not get it."""
    from contest import Contest

    script = tmp_path / "script.py"
    script.write_text("import json, os\nprint(json.dumps({'spins': float(os.environ.get('GOMP_SPINCOUNT', -1))}))")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setattr(sys, "argv", ["script.py", "--under-load"])
    contest = Contest(str(script), "", lambda *_: {}, ["nanogpt", "gptcore"], ["only"])
    monkeypatch.setitem(os.environ, "GOMP_SPINCOUNT", "1000")
    assert {contest.child(side, "only")["spins"] for side in contest.sides} == {-1.0}
    assert "--under-load" in contest.where()["load"]


def test_a_busy_machine_is_refused() -> None:
    from load import refuse_above

    refuse_above(0.05, go_on=False)
    refuse_above(0.9, go_on=True)
    with pytest.raises(SystemExit, match=r"^other programs use 90% of the \d+ cores .* --under-load"):
        refuse_above(0.9, go_on=False)


def test_figures_are_measured_on_a_free_machine_and_kept_with_what_they_depend_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import figures
    import load

    def measured() -> Iterator[str]:
        assert "benchmarks/idle.py" in capsys.readouterr().out
        yield "it took 3 s"

    monkeypatch.setattr(figures, "RESULTS", tmp_path)
    monkeypatch.setattr(load, "SECONDS", 0.0)
    monkeypatch.setattr(load.Others, "share", lambda _: 0.9)
    monkeypatch.setattr(sys, "argv", ["benchmarks/idle.py", "--save", str(tmp_path)])
    arguments = figures.parser("What it costs.\n\nAnd more.")
    arguments.add_argument("folder")
    with pytest.raises(SystemExit, match="other programs use 90%"):
        figures.told(measured(), arguments.parse_args(), "pytest")
    assert [*tmp_path.iterdir()] == []
    sys.argv.append("--under-load")
    figures.told(measured(), arguments.parse_args(), "pytest")
    first, machine, share, last = (tmp_path / "idle.txt").read_text().splitlines()
    assert first == "python benchmarks/idle.py --save PATH --under-load"
    assert f"pytest {pytest.__version__}" in machine and "90%" in share
    assert (last, capsys.readouterr().out) == ("it took 3 s", "it took 3 s\n")


def test_the_interval_over_seeds_is_students() -> None:
    from cells import interval

    assert interval([1.0, 2.0, 3.0]) == pytest.approx(
        4.30265 / math.sqrt(3), rel=1e-5
    )  # t(0.975), 2 degrees of freedom
    assert interval([1.0, 2.0, 3.0], [5.0, 6.0, 7.0]) == pytest.approx(2.77645 * math.sqrt(2 / 3), rel=1e-5)  # of 4
    assert math.isnan(interval([1.0]))


def test_the_rows_of_the_headline_have_equal_parameters() -> None:
    from headline import WITHOUT_TABLES, Headline

    from gptcore.config.plain_yaml import load_yaml
    from gptcore.model.config import ModelConfig
    from gptcore.model.counts import counts

    values: dict[str, Any] = compose(["model=nano"], ROOT / "params.yaml")
    ours, theirs = ModelConfig(**values["model"]), ModelConfig(**values["baseline"]["model"])
    table: Any = SimpleNamespace(vocab_size=2048)
    wide = Headline._fitted(table, theirs, counts(ours, 2048).parameters)
    without = ours.model_copy(update=load_yaml(WITHOUT_TABLES.read_text("utf-8"))["model"])
    small = Headline._fitted(table, without, counts(theirs, 2048).parameters)
    assert counts(wide, 2048).parameters == pytest.approx(counts(ours, 2048).parameters, rel=0.02)
    assert counts(small, 2048).parameters == pytest.approx(counts(theirs, 2048).parameters, rel=0.02)


def test_the_gpu_benchmark_measures_models_of_the_same_size() -> None:
    """Its `modern` is that of the preset gpt2-124m."""
    from gpu import OURS, SETTING

    from gptcore.model.config import ModelConfig

    size = ["model=nano", *SETTING.overrides(), *OURS]
    ours, preset = (compose(choices, ROOT / "params.yaml")["model"] for choices in (size, ["model=gpt2-124m"]))
    assert ModelConfig(**ours) == ModelConfig(**preset)


def test_each_part_of_the_ablation_changes_the_recipe() -> None:
    from ablation import PARTS
    from cells import our_cell

    from gptcore.model.config import ModelConfig

    values: dict[str, Any] = compose([], ROOT / "params.yaml")
    whole = list(our_cell("gptcore float32", ModelConfig(**values["model"]), values, 2048, 1).recipe)
    params = compose(whole, ROOT / "params.yaml")
    for part, off in PARTS.items():
        without = flatten(compose([*whole, *off], ROOT / "params.yaml"))
        named = {each.split("=")[0] for each in off}
        assert {name for name, value in flatten(params).items() if without[name] != value} == named, part


def test_the_naive_cache_of_the_generation_benchmark_computes_what_the_model_does() -> None:
    import torch
    from generation import Setting, our_model, with_naive_cache

    model, ids = our_model(Setting(2, 2, 16, 40, 50, 3, 6)), torch.arange(27).view(3, 9)
    cache: list[tuple[torch.Tensor, ...]] = [() for _ in model.h]
    with torch.inference_mode():
        *_, found = (with_naive_cache(model, new, cache) for new in ids.split((7, 1, 1), 1))
        torch.testing.assert_close(found, model(ids)[:, -1])


def test_the_client_of_the_serving_benchmark_waits_for_the_whole_answer() -> None:
    import asyncio

    from stream_client import completion

    from tests.support.serving import in_a_thread

    body = {"prompt": "a", "max_tokens": 5, "logit_bias": {"256": -1e5}, "stream": True}
    with in_a_thread() as address:
        answer = asyncio.run(completion(address, {**body, "stream_options": {"include_usage": True}}))
        assert (answer.tokens, 0 < answer.first <= answer.last) == (5, True)
        with pytest.raises(SystemExit, match=r"gave no whole answer: b'HTTP/1.1 400 Bad Request.*unknown_field"):
            asyncio.run(completion(address, {**body, "temprature": 1}))
