"""The real lm-eval with our model gives the numbers of `gptcore evaluate`, to the bit; with our server, to 1e-4.

Skipped without the extra.
"""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gptcore.evaluation.benchmarks import suite
from gptcore.evaluation.benchmarks.requests import rolling
from gptcore.evaluation.benchmarks.results import results
from gptcore.files import write_json
from gptcore.model.folder import save_export
from gptcore.model.gpt import GPT
from gptcore.tokens.make_tokenizer import byte_tokenizer, train_bpe
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.exports.huggingface import target
from gptcore.weights.open_model import open_model
from serving.model import Served
from tests.support.benchmarks import WORDS, benchmarks_in
from tests.support.engine import GPT2, MODERN
from tests.support.serving import in_a_thread
from tests.support.weights import random_model

pytestmark = pytest.mark.skipif(not find_spec("lm_eval"), reason="lm-eval is not installed")
TASKS = {
    "hellaswag": ("hellaswag/hellaswag.yaml", "validation"),
    "lambada": ("lambada/lambada_openai.yaml", "test"),
    "wikitext": ("wikitext/wikitext.yaml", "test"),
}


UNUSED: dict[str, Any] = {"training_split": None, "validation_split": None, "test_split": None}


def theirs(model: Any, rows: Path, scratch: Path) -> Any:
    """What lm-eval says of a model of its kind in its own tasks, with rows from files, acc_bytes beside acc_norm."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    for name, (file, split) in TASKS.items():
        files = {"data_files": {split: str(rows / f"{name}.jsonl")}, "cache_dir": str(scratch)}
        config = {
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": files,
            **UNUSED,
            f"{split}_split": split,
        }
        if name == "hellaswag":
            config["metric_list"] = [{"metric": each} for each in ("acc", "acc_norm", "acc_bytes")]
        original = Path(lm_eval.__file__).parent / "tasks" / file
        write_json(scratch / f"{name}.yaml", {"include": str(original), **config})  # JSON is YAML
    tasks = [str(scratch / f"{name}.yaml") for name in TASKS]
    manager = TaskManager(include_defaults=False)
    return lm_eval.simple_evaluate(model, tasks=tasks, task_manager=manager, bootstrap_iters=2)


def ours(model: GPT, tokenizer: Tokenizer, rows: Path) -> Any:
    runs = {}
    for name in suite.KNOWN:
        benchmark = suite.open_benchmark(name, rows, None)
        runs[benchmark.name] = benchmark, suite.run(model, tokenizer, benchmark)
    return results(runs, {})


@pytest.mark.parametrize(("values", "n_ids"), [(GPT2, 257), (MODERN, 290)], ids=["gpt2 of bytes", "modern of BPE"])
def test_the_same_numbers_on_the_same_rows(
    values: dict[str, Any], n_ids: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gptcore.weights.lm_eval_model import GPTCore

    monkeypatch.setenv("DISABLE_MULTIPROC", "1")  # of its bootstrap
    rows = benchmarks_in(tmp_path)
    tokenizer = byte_tokenizer() if n_ids == 257 else train_bpe(iter([" ".join(WORDS) * 9]), n_ids)
    save_export(tmp_path / "model", random_model(values, n_ids, block_size=48), tokenizer)
    here = ours(*open_model(str(tmp_path / "model"), None), rows)
    there = theirs(GPTCore(str(tmp_path / "model")), rows, tmp_path / "theirs")
    for part in ("versions", "n-shot", "n-samples"):
        assert here[part] == there[part]
    for name, found in there["results"].items():
        same = {key: each for key, each in found.items() if "perplexity_stderr" not in key and "byte_stderr" not in key}
        assert len(same) > 4 and {key: here["results"][name][key] for key in same} == same


def test_the_same_windows() -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    for n in range(40):
        for block_size in (1, 2, 7, 16):
            expected = map(make_disjoint_window, get_rolling_token_windows(list(range(n)), -1, block_size, 1))
            assert [tuple(each) for each in rolling(list(range(n)), -1, block_size)] == list(expected)


def test_it_generates_up_to_a_stop(tmp_path: Path) -> None:
    from gptcore.weights.lm_eval_model import GPTCore

    save_export(tmp_path / "model", random_model(GPT2), byte_tokenizer())
    model = GPTCore(str(tmp_path / "model"))
    (whole,) = model.generate_until([SimpleNamespace(args=("To be", {"until": [], "max_gen_toks": 20}))])
    stop = whole[7:9]
    (cut,) = model.generate_until([SimpleNamespace(args=("To be", {"until": [stop], "max_gen_toks": 20}))])
    assert len(whole.encode()) >= 20 and cut == whole.partition(stop)[0]


def test_the_server_gives_the_numbers_of_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval's own client of OpenAI's completions, with the tokenizer of an export; and a text up to a stop."""
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    from gptcore.weights.lm_eval_model import GPTCore

    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    rows, tokenizer = benchmarks_in(tmp_path, 6), train_bpe(iter([" ".join(WORDS) * 9]), 290)
    model = random_model(MODERN, 290, block_size=400)  # holds every row: beyond it, lm-eval cuts by rules of its own
    save_export(tmp_path / "model", model, tokenizer)
    (tmp_path / "exported").mkdir()
    target("").write(tmp_path / "exported", model, tokenizer)
    adapter = GPTCore(str(tmp_path / "model"))
    here = theirs(adapter, rows, tmp_path / "here")["results"]
    with in_a_thread(Served("gpt", 1, "0" * 64, model, tokenizer)) as address:
        client = LocalCompletionsAPI(
            f"{address}/v1/completions", model="gpt", tokenizer=str(tmp_path / "exported"), max_length=400,
            batch_size=4,
        )  # fmt: skip
        there = theirs(client, rows, tmp_path / "there")["results"]
        asked = [SimpleNamespace(args=("to be or", {"until": [" the"], "max_gen_toks": 20}))]
        assert client.generate_until(asked) == adapter.generate_until(asked)
    assert here.keys() == there.keys()
    for name, found in here.items():
        same = {key: each for key, each in found.items() if isinstance(each, float) and "_stderr" not in key}
        assert len(same) > 1 and {key: there[name][key] for key in same} == pytest.approx(same, rel=1e-4)
