"""`gptcore evaluate` asks models in every form the same, and writes lm-eval's layout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gptcore.model.folder import save_export
from gptcore.tokens.make_tokenizer import byte_tokenizer, char_tokenizer
from gptcore.weights.huggingface import write_hugging_face
from tests.support.benchmarks import LAMBADA, QUESTION, benchmarks_in, write_rows
from tests.support.command import run_command
from tests.support.engine import GPT2
from tests.support.weights import nanogpt_checkpoint, random_model


@pytest.fixture
def gptcore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run `gptcore evaluate` in this process, in a folder with the same model in three forms; return its exit code."""
    monkeypatch.chdir(tmp_path)
    model, tokenizer = random_model(GPT2, block_size=48), byte_tokenizer()
    save_export(tmp_path / "model", model, tokenizer)
    write_hugging_face(tmp_path / "hf", model, tokenizer)
    nanogpt_checkpoint(tmp_path / "ckpt.pt", model)
    benchmarks_in(tmp_path, n=6)

    def run(*words: str) -> int:
        return run_command(monkeypatch, "evaluate", *words)

    return run


def read(folder: str) -> Any:
    return json.loads(Path(folder, "results.json").read_text())


def test_one_model_in_three_forms(gptcore: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    tasks = ("--tasks", "hellaswag,lambada,wikitext", "--data", ".")
    assert gptcore("model", *tasks, "--output", "out", "--log-samples") == 0
    assert gptcore("hf", *tasks, "--output", "out/hf") == 0
    assert gptcore("ckpt.pt", "--tokenizer", "model/tokenizer.json", *tasks, "--output", "out/ckpt") == 0
    assert gptcore("ckpt.pt", *tasks, "--tokenizer", "nowhere.json") == 2
    found = read("out")
    assert found["results"] == read("out/hf")["results"] == read("out/ckpt")["results"]
    assert found["versions"] == {"hellaswag": 1.0, "lambada_openai": 1.0, "wikitext": 2.0}
    assert found["n-shot"] == {"hellaswag": 0, "lambada_openai": 0, "wikitext": 0}
    assert found["n-samples"]["lambada_openai"] == {"original": 7, "effective": 7}
    assert found["configs"]["wikitext"]["output_type"] == "loglikelihood_rolling"
    for name, metrics in found["higher_is_better"].items():
        for metric in metrics:
            low, high = found["results"][name][f"{metric}_interval,none"]
            assert low <= found["results"][name][f"{metric},none"] <= high
    lines = [json.loads(line) for line in Path("out/samples_hellaswag.jsonl").read_text().splitlines()]
    assert [each["doc_id"] for each in lines] == list(range(6))
    assert sum(each["acc_bytes"] for each in lines) / 6 == found["results"]["hellaswag"]["acc_bytes,none"]
    assert lines[0]["arguments"][0][1] == " reads a book." and len(lines[0]["resps"]) == 2
    assert "lambada_openai  perplexity" in capsys.readouterr().out


def test_what_cannot_be_graded_widens_the_interval(
    gptcore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A character model cannot read all letters, and has no <|endoftext|> for a page to begin with."""
    characters = char_tokenizer(["abcdefghijklmnopqrstuvwxyz .,?Is"])
    save_export(tmp_path / "char", random_model(GPT2, characters.n_vocab), characters)
    rows = [QUESTION, {**QUESTION, "choices": ["yes", "\u00e9t\u00e9"]}, {**QUESTION, "choices": ["yes " * 9, "no"]}]
    write_rows(tmp_path / "mine.jsonl", rows)
    assert gptcore("char", "--tasks", "mine.jsonl", "--output", "out") == 0
    found = read("out")
    assert found["n-samples"] == {"mine": {"original": 3, "effective": 1}}
    assert found["results"]["mine"]["ungraded"] == 2
    low, high = found["results"]["mine"]["acc_interval,none"]
    assert low < 0.4 and high > 0.6 and found["results"]["mine"]["acc_stderr,none"] == "N/A"
    said = capsys.readouterr().out
    assert "mine: 2 of 3 items could not be graded; the interval covers what they might be. The first: " in said
    assert "the vocabulary has no '\u00e9'" in said


def test_a_mistake_is_one_line(gptcore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(tmp_path / "bad.jsonl", [LAMBADA, {"text": 5}])
    (tmp_path / "sub").mkdir()
    write_rows(tmp_path / "sub/mine.jsonl", [LAMBADA])
    write_rows(tmp_path / "mine.jsonl", [LAMBADA])
    for words, said in (
        (("model", "--tasks", "bad.jsonl"), "bad.jsonl, line 2: text: Input should be a valid string"),
        (("model", "--tasks", "mine.jsonl,sub/mine.jsonl"), "two tasks are named mine; leave one out"),
        (("model", "--tasks", "gone.jsonl"), "gone.jsonl cannot be read: No such file or directory"),
        (("nothing", "--tasks", "mine.jsonl"), "there is no model nothing"),
        (("gpt@champion", "--tasks", "mine.jsonl"), "there is no MLflow registry"),
        (("model", "--tasks", "mine.jsonl", "--output", "model"), "model is there already"),
        (("model", "--tasks", "mine.jsonl", "--log-samples"), "--log-samples writes into the folder of --output"),
        (("model", "--tasks", "mine.jsonl", "--limit", "0"), "--limit 0: take 1 or more"),
    ):  # fmt: skip
        assert gptcore(*words) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {said}") and error.count("\n") == 1


def test_continuations_are_compared_with_references(
    gptcore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """BLEU, chrF and ROUGE-L of a text with itself are 100; a prompt that is too long widens the intervals."""
    pytest.importorskip("sacrebleu")
    rows = [{"prompt": f"number {n} is", "references": ["?"]} for n in range(5)]
    write_rows(tmp_path / "prompts.jsonl", rows)
    more = ("--continuations", "prompts.jsonl", "--max-new-tokens", "30", "--log-samples")
    assert gptcore("model", *more, "--output", "first") == 0
    first = [json.loads(line) for line in Path("first/samples_continuations.jsonl").read_text().splitlines()]
    own = [{"prompt": each["prompt"], "references": ["other", each["text"]]} for each in first]
    write_rows(tmp_path / "prompts.jsonl", [*own, {"prompt": "x" * 49, "references": ["a b c d e"]}])
    capsys.readouterr()
    assert gptcore("model", *more, "--output", "again") == 0
    found = read("again")["results"]["continuations"]
    assert found["chrf,none"] == pytest.approx(100) and found["rougeL,none"] in (pytest.approx(100), 0)
    assert found["sample_len"] == 5 and found["ungraded"] == 1 and found["chrf_interval,none"][0] < 100
    assert found["chrf_signature"].startswith("nrefs:") and "version:" in found["bleu_signature"]
    assert "1 prompts that the model cannot read" in capsys.readouterr().out
    write_rows(tmp_path / "prompts.jsonl", [{"prompt": "x", "reference": "y"}])
    assert gptcore("model", *more[:2]) == 2
    assert "prompts.jsonl, line 1: references: Field required" in capsys.readouterr().err
