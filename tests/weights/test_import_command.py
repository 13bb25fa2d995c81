"""`gptcore import` and `gptcore export` as commands."""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gptcore.model.folder import load_export
from gptcore.tokens.make_tokenizer import byte_tokenizer, train_bpe
from gptcore.weights.huggingface import write_hugging_face
from gptcore.weights.pretrained import read_pretrained
from tests.support.closure import ROOT
from tests.support.command import run_command
from tests.support.engine import GPT2
from tests.support.forked import Forked
from tests.support.hub import Hub, serve_hub
from tests.support.patience import PATIENCE
from tests.support.weights import TEXT, VOCAB, assert_same, nanogpt_checkpoint, random_model


@pytest.fixture
def gptcore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command in this process and in tmp_path; return its exit code."""
    monkeypatch.chdir(tmp_path)

    (tmp_path / "text.txt").write_text(TEXT * 4)

    def run(*words: str) -> int:
        return run_command(monkeypatch, *words)

    return run


def test_import_and_export(tmp_path: Path, gptcore: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    """A padded nanoGPT checkpoint is imported as a model folder, then exported in both formats."""
    byte_tokenizer().save(tmp_path / "byte.json")
    padded = random_model(GPT2, 320)
    nanogpt_checkpoint(tmp_path / "ckpt.pt", padded)
    assert gptcore("import", "ckpt.pt", "model", "--tokenizer", "byte.json") == 0
    assert "the model had 320 ids and has 257 now" in capsys.readouterr().out
    model, tokenizer = load_export(tmp_path / "model")
    assert tokenizer.n_vocab == model.vocab_size == VOCAB
    for form, destination in [("huggingface", "hf"), ("nanogpt", "again/ckpt.pt")]:
        out = destination.partition("/")[0]
        assert gptcore("export", "model", "--to", form, out, "--text", "text.txt") == 0
        assert torch.equal(read_pretrained(str(tmp_path / destination)).wte.weight, padded.wte.weight[:VOCAB])


def test_a_folders_own_tokenizer_comes_with_it(
    tmp_path: Path, gptcore: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens that were added to it are no padding, padding is cut off; GPT-2's is never taken in its place."""
    from transformers import AutoTokenizer

    own = train_bpe(iter([TEXT * 9]), 300)
    write_hugging_face(tmp_path / "hf", random_model(GPT2, 301), own)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "hf")
    theirs.add_special_tokens({"eos_token": "<|end|>"})
    theirs.save_pretrained(tmp_path / "hf")
    assert gptcore("import", "hf", "model") == 0
    model, tokenizer = load_export(tmp_path / "model")
    assert model.vocab_size == tokenizer.n_vocab == 301
    assert (tokenizer.end_of_text, tokenizer.eot_id) == ("<|end|>", 300)
    ids = tokenizer.encode(TEXT + "<|end|>").tolist()
    assert ids == [*own.encode(TEXT).tolist(), 300] == theirs.encode(TEXT + "<|end|>")
    assert gptcore("export", "model", "--to", "huggingface", "again", "--text", "text.txt") == 0
    again = AutoTokenizer.from_pretrained(tmp_path / "again")
    assert (again.eos_token_id, again.encode(TEXT + "<|end|>")) == (300, ids)
    for n_ids, end in ((304, 0), (300, 2)):
        write_hugging_face(tmp_path / "hf", random_model(GPT2, n_ids), own)
        theirs.save_pretrained(tmp_path / "hf")
        assert gptcore("import", "hf", f"model {n_ids}") == end
    assert load_export(tmp_path / "model 304")[0].vocab_size == 301
    said = capsys.readouterr()
    assert "the model had 304 ids and has 301 now" in said.out
    assert said.err == "error: the model has 300 ids, the tokenizer 301; name the model's own with --tokenizer\n"


def test_nothing_is_overwritten(
    tmp_path: Path, gptcore: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious").mkdir()
    assert gptcore("import", "gpt2", "precious") == 2
    assert gptcore("export", "model", "--to", "huggingface", ".") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: precious is there already; name a new folder, or remove it"
    assert second == "error: . is there already; name a new folder, or remove it"


def test_without_a_tokenizer_it_is_gpt2s(
    tmp_path: Path, gptcore: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Uses a small tokenizer in GPT-2's format, where the download stage puts it."""
    ranks = [b"%s %d" % (base64.b64encode(token), rank) for rank, token in enumerate(byte_tokenizer().tokens)]
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/gpt2.tiktoken").write_bytes(b"\n".join(ranks))
    nanogpt_checkpoint(tmp_path / "ckpt.pt", random_model(GPT2, 304))
    assert gptcore("import", "ckpt.pt", "model") == 0
    assert load_export(tmp_path / "model")[1].kind == "gpt2"
    capsys.readouterr()
    nanogpt_checkpoint(tmp_path / "ckpt.pt", random_model(GPT2, 65))
    assert gptcore("import", "ckpt.pt", "other") == 2
    said = "error: the model has 65 ids, the tokenizer 257; name the model's own with --tokenizer\n"
    assert capsys.readouterr().err == said


def in_a_process(folder: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Exit code and output. The hub's client reads its environment once, at import."""
    process = Forked("gptcore", folder, {"PYTHONPATH": str(ROOT), "HOME": str(folder), **environment}, *words)
    output, _ = process.communicate(timeout=PATIENCE)
    return process.wait(), output


def test_a_published_model_comes_from_the_hub_and_is_kept(tmp_path: Path) -> None:
    byte_tokenizer().save(tmp_path / "byte.json")
    model = random_model(GPT2, activation="gelu_tanh")
    write_hugging_face(tmp_path / "served", model, byte_tokenizer())
    words = ("import", "gpt2-medium", "--tokenizer", "byte.json")
    with serve_hub(Hub({"openai-community/gpt2-medium": tmp_path / "served"}, "0" * 40)) as hub:
        code, said = in_a_process(tmp_path, *words, "model", HF_ENDPOINT=hub.address)
    assert code == 0, said
    assert_same(load_export(tmp_path / "model")[0], model)
    code, said = in_a_process(tmp_path, *words, "again", HF_HUB_OFFLINE="1")
    assert code == 0, said


def test_without_the_hub_a_name_is_refused_in_one_line(tmp_path: Path) -> None:
    code, said = in_a_process(tmp_path, "import", "gpt2", "model", HF_HUB_OFFLINE="1")
    assert code == 2
    assert said.startswith("error: gpt2 (there is no such path here) is not in the hub's cache")
    assert said.count("\n") == 1
    assert not (tmp_path / "model").exists()
