"""`gptcore export`: the program that reads a result computes what the model does, or nothing is kept."""

import json
import math
import runpy
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gptcore.corpus.chat_template import TEMPLATE
from gptcore.errors import UserError
from gptcore.files import sha256_file
from gptcore.model.folder import load_export, save_export
from gptcore.model.gpt import GPT
from gptcore.model.int8 import packed
from gptcore.tokens.make_tokenizer import byte_tokenizer, char_tokenizer, train_bpe
from gptcore.tokens.tokenizer import PATTERNS, Tokenizer
from gptcore.weights.exports import gguf
from gptcore.weights.exports.llama_cpp import LlamaCpp
from gptcore.weights.exports.parity import compare
from gptcore.weights.exports.target import Target, with_and_without_cache
from gptcore.weights.exports.text import read_text
from gptcore.weights.exports.traced import Traced, empty_cache
from gptcore.weights.pretrained import own_tokenizer
from tests.support.command import run_command
from tests.support.engine import GPT2, MODERN, REPOSITORY, model_config
from tests.support.weights import TEXT, random_model
from tests.tokens.test_token_files import write

pytestmark = pytest.mark.slow

WORDS = ["sun", "SUN", "Sun's", "we'LL", " ", "  ", "\n", "\r\n", ".\n\n", "\t", "12345", "é", "仁義", "!?/", "　", "'"]
# every field that changes what is computed, in blocks with and without a window and value embeddings
ALL_FIELDS: dict[str, Any] = {**MODERN, "n_layer": 2, "sliding_window": 5, "attention_scale": 0.3, "block_size": 24}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models in their folders, and a text."""
    root = tmp_path_factory.mktemp("models")
    bpe = train_bpe(iter([TEXT * 9]), 300)
    save_export(root / "gpt2", random_model(GPT2, bpe.n_vocab, block_size=24), bpe)
    save_export(root / "modern", random_model(ALL_FIELDS), byte_tokenizer())
    (root / "text.txt").write_text(TEXT * 12)
    return root


@pytest.fixture
def export(folder: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Callable[..., int]:
    """Run `gptcore export MODEL --to TO OUT` in this process, in that folder; return its exit code."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("gptcore.weights.exports.text.WINDOWS", 4)

    def run(model: str, to: str, out: Path, *words: str) -> int:
        return run_command(monkeypatch, "export", model, "--to", to, str(out), "--text", "text.txt", *words)

    return run


def parity(out: Path) -> Any:
    """What parity.json says; its hashes and sizes are those of the files."""
    found = json.loads((out / "parity.json").read_text())
    files = {each for each in out.rglob("*") if each.is_file() and each.name != "parity.json"}
    assert found["sha256"] == {str(each.relative_to(out)): sha256_file(each) for each in files}
    assert found["bytes"] == sum(each.stat().st_size for each in files)
    assert found["bits_per_byte"]["low"] <= found["bits_per_byte"]["difference"] <= found["bits_per_byte"]["high"]
    assert found["bits_per_byte"]["tokens"] > 80 and all(found["checks"].values())
    return found


def notices(out: Path, to: str, name: str, kind: str = "") -> bool:
    """Whether what reads `out` shows that it is not a model with another head."""
    target: Target = import_module(f"gptcore.weights.exports.{to}").target(kind)
    model, tokenizer = load_export(Path(name))
    model.lm_head.weight.data *= 3
    with target.opened(out, model) as consumer:
        told = compare(model, tokenizer, replace(consumer, checks={}), read_text(tokenizer, Path("text.txt")))
    return bool(told.faults(target.limits))


def test_transformers_computes_every_architecture_from_one_file(export: Callable[..., int], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    assert export("modern", "huggingface", tmp_path / "out") == 0
    found = parity(tmp_path / "out")
    assert max(found["differences"].values()) < 1e-5 and set(found["differences"]) == {"without cache", "with cache"}
    assert len(found["checks"]) == 2
    assert notices(tmp_path / "out", "huggingface", "modern")
    code = (tmp_path / "out/modeling_gptcore.py").read_text()
    imported = {line.split()[1].split(".")[0] for line in code.splitlines() if line.startswith(("import ", "from "))}
    assert imported == {"collections", "types", "typing", "torch", "transformers"}
    theirs: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out", trust_remote_code=True).eval()
    ours = random_model(ALL_FIELDS)
    ids = torch.arange(20).view(2, 10) * 7 % 257
    mask = torch.tensor([[1] * 10, [0] * 4 + [1] * 6])
    with torch.no_grad():
        padded = theirs(ids, attention_mask=mask).logits
        torch.testing.assert_close(padded[1, 4:], ours(ids[1:, 4:])[0])
        cache = theirs(ids[:, :4]).past_key_values
        with pytest.raises(ValueError, match="previous_ids"):
            theirs(ids[:, 4:], past_key_values=cache)
    asked = {"attention_mask": mask, "max_new_tokens": 5, "num_beams": 3, "pad_token_id": 256, "eos_token_id": None}
    made = [theirs.generate(ids, use_cache=use_cache, do_sample=False, **asked) for use_cache in (True, False)]
    assert torch.equal(*made)


def test_gpt2_is_transformers_own_class(export: Callable[..., int], tmp_path: Path) -> None:
    assert export("gpt2", "huggingface", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out/config.json").read_text())["model_type"] == "gpt2"
    assert max(parity(tmp_path / "out")["differences"].values()) < 1e-5
    assert notices(tmp_path / "out", "huggingface", "gpt2")
    assert own_tokenizer(str(tmp_path / "out"))
    assert export("gpt2", "huggingface", tmp_path / "out") == 2  # it is there


def test_the_validation_text_is_what_is_compared_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the model has another tokenizer than the checkout's tokens."""
    monkeypatch.chdir(tmp_path)
    words = ("export", str(folder / "gpt2"), "--to", "int8", "out")
    assert run_command(monkeypatch, *words) == 2
    said = capsys.readouterr().err
    assert "there is no validation text in" in said and "--text FILE" in said and said.count("\n") == 1
    texts: Any = [("train", "0", TEXT), ("val", "1", TEXT * 4), ("val", "2", TEXT * 3)]
    write(tmp_path / "data/tokens", byte_tokenizer(), texts)
    assert run_command(monkeypatch, *words) == 0
    bits = parity(tmp_path / "out")["bits_per_byte"]
    model, tokenizer = load_export(folder / "gpt2")
    ids = torch.from_numpy(tokenizer.encode_documents([TEXT.encode() * 4, TEXT.encode() * 3]).astype("int64"))
    windows = ids[: len(ids) // 24 * 24 + 1].unfold(0, 25, 24)
    losses = cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
    assert bits["windows"] == len(windows) < 16
    bytes_per_token = len(TEXT.encode()) * 7 / len(ids)
    assert bits["model"] == pytest.approx(losses.item() / math.log(2) / bytes_per_token, rel=1e-5)


@pytest.mark.parametrize(("kind", "most"), [("f32", 1e-4), ("f16", 1e-2), ("q8_0", 0.1)])
def test_llama_cpp_agrees_over_the_whole_vocabulary(
    export: Callable[..., int], tmp_path: Path, kind: str, most: float
) -> None:
    assert export("gpt2", "gguf", tmp_path / "out", "--type", kind) == 0
    found = parity(tmp_path / "out")
    assert 0 < found["differences"]["of the whole vocabulary"] < most
    assert found["consumer"]["name"].startswith("llama.cpp") and found["type"] == kind
    assert notices(tmp_path / "out", "gguf", "gpt2", kind)


def test_llama_cpp_splits_text_as_we_do(tmp_path: Path) -> None:
    tokens = train_bpe(iter([TEXT * 9]), 300).tokens
    kinds = [char_tokenizer(WORDS), *(Tokenizer(kind, pattern, tokens) for kind, pattern in PATTERNS.items())]  # type: ignore[arg-type]
    talk = [{"role": "system", "content": WORDS[0]}, {"role": "user", "content": WORDS[-1]}]
    for plain in kinds:
        tokenizer = replace(plain, chat_template=TEMPLATE)
        gguf.write_gguf(tmp_path / "model.gguf", random_model(GPT2, tokenizer.n_vocab), tokenizer, "f32")
        theirs = LlamaCpp(tmp_path / "model.gguf", 16)
        for text in ("".join(WORDS), "".join(reversed(WORDS)), "".join(f"{a} {b}" for a in WORDS[:4] for b in WORDS)):
            assert theirs.encode(text) == tokenizer.encode(text).tolist(), tokenizer.kind
        if tokenizer.kind != "char":  # whose vocabulary has no line end, which is between the two messages
            asked = theirs.ask("/apply-template", messages=talk)["prompt"]
            assert theirs.ask("/tokenize", content=asked, parse_special=True)["tokens"] == tokenizer.encode_chat(talk)
        theirs.close()


@pytest.mark.parametrize("name", ["gpt2", "modern"])
def test_what_is_traced_computes_what_the_model_does(folder: Path, name: str) -> None:
    """What ONNX and torch.export are made of, of both architectures."""
    model, _ = load_export(folder / name)
    traced = Traced(model)
    ids = torch.arange(20).view(2, 10) * 7 % 257

    def step(ids: Tensor, previous: Tensor, cache: Any) -> tuple[Tensor, Any]:
        return traced(ids, empty_cache(model, len(ids)) if cache is None else cache, previous)

    for logits in with_and_without_cache(step).values():
        torch.testing.assert_close(logits(ids), model(ids), rtol=0, atol=1e-5)


@pytest.mark.load
@pytest.mark.parametrize("to", ["onnx", "pt2"])
def test_gpt2_goes_the_way_of_modern(export: Callable[..., int], tmp_path: Path, to: str) -> None:
    assert export("gpt2", to, tmp_path / "out") == 0
    assert max(parity(tmp_path / "out")["differences"].values()) < 1e-5


def greedy(model: GPT, ids: list[int], new: int) -> list[int]:
    """The model itself, without a cache."""
    for _ in range(new):
        ids = [*ids, int(model(torch.tensor([ids]))[0, -1].argmax())]
    return ids


def test_onnxruntime_computes_every_field(export: Callable[..., int], tmp_path: Path) -> None:
    """And the example in the documentation generates with it what the model does."""
    assert export("modern", "onnx", tmp_path / "out") == 0
    assert max(parity(tmp_path / "out")["differences"].values()) < 1e-5
    assert notices(tmp_path / "out", "onnx", "modern")
    content = (tmp_path / "out/model.onnx").read_bytes()
    assert str(REPOSITORY).encode() not in content
    path = REPOSITORY / "docs/onnx_generate.py"
    assert len(path.read_text().splitlines()) <= 30
    example = runpy.run_path(str(path))
    ids = [9, 99, 200]
    assert example["generate"](tmp_path / "out/model.onnx", ids, 20) == greedy(random_model(ALL_FIELDS), ids, 20)


def test_torch_runs_the_program_without_gptcore(export: Callable[..., int], tmp_path: Path) -> None:
    assert export("modern", "pt2", tmp_path / "out") == 0
    found = parity(tmp_path / "out")
    assert (
        max(found["differences"].values()) < 1e-5 and "the same logits in a process without gptcore" in found["checks"]
    )
    assert notices(tmp_path / "out", "pt2", "modern")
    assert str(REPOSITORY).encode() not in (tmp_path / "out/model.pt2").read_bytes()


def test_weights_in_8_bits(export: Callable[..., int], folder: Path, tmp_path: Path) -> None:
    """The folder is a model folder, and rounding it again gives the same text as rounding the model itself."""
    assert export("modern", "int8", tmp_path / "out") == 0
    size = (folder / "modern/model.safetensors").stat().st_size
    assert parity(tmp_path / "out")["bytes"] - 3000 < size / 3  # config, tokenizer and the names take the 3,000
    assert 1e-4 < max(parity(tmp_path / "out")["differences"].values()) < 0.5
    assert notices(tmp_path / "out", "int8", "modern")
    rounded, _ = load_export(tmp_path / "out")
    for name, each in packed(random_model(ALL_FIELDS)).items():
        assert torch.equal(each, packed(rounded)[name]), name


def test_nanogpts_checkpoint(export: Callable[..., int], tmp_path: Path) -> None:
    assert export("gpt2", "nanogpt", tmp_path / "out") == 0
    assert parity(tmp_path / "out")["differences"]["without cache"] < 1e-6
    assert notices(tmp_path / "out", "nanogpt", "gpt2")


def outlier(model: GPT) -> GPT:
    """With a weight beside which 8 bits leave nothing of the others."""
    for name, each in model.named_parameters():
        if name.endswith("c_fc.weight") or name == "wte.weight":
            each.data *= 20
            each.data[:, 0] = 3000.0 if name == "wte.weight" else 300.0
    return model


def test_what_computes_something_else_is_not_kept(
    export: Callable[..., int], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bpe = train_bpe(iter([TEXT * 9]), 300)
    save_export(tmp_path / "outlier", outlier(random_model(GPT2, bpe.n_vocab)), bpe)
    assert export(str(tmp_path / "outlier"), "gguf", tmp_path / "out/gguf", "--type", "q8_0") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "bits per byte" in said and "nothing is kept" in said
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("model", "to", "words", "said"),
    [
        ("modern", "gguf", (), "GGUF's GPT-2 has no words for norm=rmsnorm, position=rope"),
        ("modern", "nanogpt", (), "nanoGPT has no words for norm=rmsnorm"),
        ("gpt2", "gguf", ("--type", "q4"), "--type q4: there are f32, f16, q8_0"),
        ("gpt2", "nanogpt", ("--type", "f16"), "--type is for gguf alone"),
        ("gpt2", "nanogpt", ("--text", "short.txt"), "short.txt has 1 tokens; parity needs 49"),
        ("char", "gguf", (), "GGUF needs a tokenizer with an end of text"),
        ("narrow", "gguf", ("--type", "q8_0"), "n_embd is 30; take --type f16"),
        ("nowhere", "gguf", (), "there is no model nowhere"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(
    export: Callable[..., int], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, to: str,
    words: tuple[str, ...], said: str,
) -> None:  # fmt: skip
    (folder / "short.txt").write_text("a")
    if not (folder / "char").exists():
        char = Tokenizer("char", "(?s).", char_tokenizer([TEXT]).tokens, end_of_text=None)
        save_export(folder / "char", random_model(GPT2, char.n_vocab), char)
        save_export(folder / "narrow", random_model(GPT2, n_embd=30), byte_tokenizer())
    assert export(model, to, tmp_path / "out", *words) == 2
    line = capsys.readouterr().err
    assert said in line and line.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_gguf_refuses_a_tokenizer_that_llama_cpp_cannot_say() -> None:
    kinds = {
        "sentencepiece": "for a sentencepiece",
        "huggingface": "for a huggingface",
        "bpe": "for the pattern of this bpe",
    }
    for kind, said in kinds.items():
        tokenizer: Any = replace(byte_tokenizer(), kind=kind, pattern="other")
        with pytest.raises(UserError, match=f"^GGUF has no words {said} tokenizer"):
            gguf.target("f32").refuse(model_config(GPT2), tokenizer)


def test_a_missing_package_names_the_extra(
    export: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gptcore.weights.exports.target.find_spec", lambda name: None if name == "gguf" else name)
    assert export("gpt2", "gguf", tmp_path / "out") == 2
    assert "--to gguf needs gguf: pip install 'gptcore[export]'" in capsys.readouterr().err
