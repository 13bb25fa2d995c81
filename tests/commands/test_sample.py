"""`gptcore sample` as a command."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gptcore.cli import main
from gptcore.corpus.chat_template import TEMPLATE
from gptcore.files import SUMS
from gptcore.generation.chat import Chat, answers
from gptcore.generation.complete import Wish, complete, completions, engine_for
from gptcore.generation.sampling import Sampling
from gptcore.model.folder import load_export, save_export
from gptcore.model.int8 import to_int8
from gptcore.tokens.make_tokenizer import byte_tokenizer
from gptcore.weights.huggingface import write_hugging_face
from gptcore.weights.open_model import open_model
from tests.support.engine import GPT2, MODERN
from tests.support.weights import nanogpt_checkpoint, random_model

Run = Callable[..., tuple[int, str, str]]
SHORT = ("--max-new-tokens", "6")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Keyboard(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model in each form: a model folder, Hugging Face's, nanoGPT's."""
    root = tmp_path_factory.mktemp("models")
    model = random_model(GPT2, block_size=32)
    save_export(root / "ours", model, byte_tokenizer())
    write_hugging_face(root / "theirs", model, byte_tokenizer())
    nanogpt_checkpoint(root / "ckpt.pt", model)
    byte_tokenizer().save(root / "byte.json")
    return root


@pytest.fixture
def sample(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process; return exit code, output and errors. `typed` is read from standard input."""
    monkeypatch.chdir(folder)

    def run(*words: str, typed: bytes = b"", kind: type[io.TextIOWrapper] = io.TextIOWrapper) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gptcore", "sample", *words])
        monkeypatch.setattr(sys, "stdin", kind(io.BytesIO(typed)))
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_same_text_from_every_form_of_a_model(sample: Run) -> None:
    texts = [sample("to be", *SHORT, "--model", *model)
             for model in (["ours"], ["theirs"], ["ckpt.pt", "--tokenizer", "byte.json"])]  # fmt: skip
    assert texts[0] == texts[1] == texts[2]
    code, out, err = texts[0]
    assert (code, err) == (0, "") and out.startswith("to be") and out.endswith("\n")


def test_prompts_from_standard_input_come_out_in_their_order(sample: Run) -> None:
    words = ("--model", "ours", "--json", "-n", "2", "--seed", "3", "--logprobs", "1", "--echo", *SHORT)
    lines = [f"line {number}" for number in range(12)]
    code, out, _ = sample("-", *words, typed=("\n".join(lines) + "\r\n").encode())
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(each["prompt"], each["choice"]) for each in found] == [(line, n) for line in lines for n in (0, 1)]
    assert all(each["finish"] in ("length", "stop") and len(each["logprobs"]) == each["tokens"] for each in found)
    assert all(len(each["prompt_logprobs"]) == each["prompt_tokens"] - 1 for each in found)
    assert sample("line 7", *words)[1].splitlines() == out.splitlines()[14:16]  # alone as among others
    assert len({each["text"] for each in found}) == len(found)


def test_a_terminal_shows_text_as_it_comes(
    sample: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, piped, _ = sample("to be", "--model", "ours", "-n", "3", *SHORT)
    shown, flushes = Terminal(), []
    with monkeypatch.context() as patched:
        patched.setattr(shown, "flush", lambda: flushes.append(len(shown.getvalue())))
        patched.setattr(sys, "stdout", shown)
        sample("to be", "--model", "ours", "-n", "3", *SHORT)
    assert shown.getvalue() == piped
    assert len(flushes) > 3 and flushes == sorted(flushes)


def test_without_a_prompt_it_asks_on_a_terminal(sample: Run) -> None:
    words = ("--model", "ours", *SHORT)
    first, second = (sample(each, *words)[1] for each in ("to be", "or not"))
    code, out, err = sample(*words, typed=b"to be\n" + b"x" * 40 + b"\nor not\n", kind=Keyboard)
    assert (code, out) == (0, f"> {first}> > {second}> \n")
    assert err == "error: the prompt has 40 tokens, the model's context 32\n"


def test_greedy_stop_strings_and_the_end_of_the_context(sample: Run) -> None:
    words = ("to be", "--model", "ours", "--temperature", "0", "--json")
    _, out, err = sample(*words)
    whole = json.loads(out)
    assert (whole["context_full"], whole["finish"], whole["tokens"]) == (True, "length", 32 - 5 + 1)
    assert err == "the context of 32 tokens is full; --slide goes on\n"
    slid = json.loads(sample(*words, "--slide", "--max-new-tokens", "40")[1])
    assert slid["tokens"] == 40 and slid["text"].startswith(whole["text"].rstrip("\ufffd"))
    stop = whole["text"].replace("\ufffd", "")[2]
    cut = json.loads(sample(*words, "--stop", stop)[1])
    assert (cut["text"], cut["finish"]) == (whole["text"].split(stop)[0], "stop")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("x", "--model", "nowhere"), "there is no model nowhere"),
        (("x", "--model", "ours", "--tokenizer", "byte.json"), "ours has its own tokenizer"),
        (("x", "--model", "ours", "--top-p", "0"), "top_p: input should be greater than 0"),
        (("x", "--model", "ours", "-n", "0"), "-n 0 is not at least 1"),
        (("x", "--model", "ours", "--logprobs", "1"), "--logprobs needs --json"),
        (("x", "--model", "ours", "--logit-bias", "a=1"), "--logit-bias a=1: write an id"),
        (("x", "--model", "ours", "--logit-bias", "999=1"), "999 is no id of the model; its ids are 0 to 256"),
        (("x", "--model", "ours", "--stop-id", "999"), "999 is no id of the model; its ids are 0 to 256"),
        (("x" * 40, "--model", "ours"), "the prompt has 40 tokens, the model's context 32"),
        (("x\udcff", "--model", "ours"), "prompt 1 is no text"),
    ],
)
def test_a_mistake_is_one_line(sample: Run, words: tuple[str, ...], said: str) -> None:
    code, out, err = sample(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and said in err and err.count("\n") == 1


def test_a_line_that_is_not_utf8_is_named(sample: Run) -> None:
    code, _, err = sample("-", "--model", "ours", *SHORT, typed=b"one\n\xff\n")
    assert (code, err) == (2, "error: line 2 of standard input is not UTF-8, from byte 1 on\n")


def test_weights_that_compute_nan_are_said(folder: Path, sample: Run, tmp_path: Path) -> None:
    model = random_model(GPT2, block_size=32)
    with torch.no_grad():
        model.ln_f.weight[0] = torch.finfo(torch.float32).max  # finite, and infinite once multiplied
        model.wte.weight[:, 0] = 1e9
    save_export(tmp_path / "broken", model, byte_tokenizer())
    code, out, err = sample("to be", "--model", str(tmp_path / "broken"), *SHORT)
    assert (code, out) == (2, "to be\n")
    assert err == "error: 1 of 1 texts broke off: the model computes NaN or infinity\n"


def test_who_stops_reading_frees_the_slots(folder: Path) -> None:
    model, tokenizer = load_export(folder / "ours")
    assert (folder / "ours" / SUMS).is_file()
    engine, wish = engine_for(model, tokenizer, 4), Wish(9, Sampling())
    reader = completions(engine, tokenizer, ["a"] * 9, wish)
    next(reader)
    assert engine.busy
    reader.close()
    assert not engine.busy
    assert len(complete(engine, tokenizer, ["a"] * 9, wish)) == 9
    every = [chr(code) for code in range(128)] + ["\ufffd"]
    (done,) = complete(engine, tokenizer, ["a"], Wish(20, Sampling(), stop=every))
    assert (done.text, done.finish, engine.busy) == ("", "stop", False)


def test_a_chat_goes_on_and_forgets_only_what_the_context_has_no_room_for(folder: Path, sample: Run) -> None:
    model, tokenizer = random_model(GPT2, block_size=32), replace(byte_tokenizer(), chat_template=TEMPLATE)
    save_export(folder / "chat", model, tokenizer)
    assert load_export(folder / "chat")[1].chat_template == TEMPLATE, "it travels with the model"
    chat = Chat(engine_for(model, tokenizer, 1), tokenizer, Wish(6, Sampling(temperature=0)))
    words = ("--chat", "--model", "chat", "--temperature", "0", *SHORT)
    expected = answers(chat, ["Hi", "and"])
    assert chat.forgotten == 0 and len(chat.messages) == 4
    assert sample("-", *words, typed=b"Hi\nand\n")[:2] == (0, "".join(f"{each}\n" for each in expected))
    code, out, err = sample("-", *words, typed=b"Hi\nand\nthen\nlast\n")
    assert (code, out.count("\n")) == (0, 4 + sum(each.count("\n") for each in answers(chat, ["then", "last"])))
    assert f"the first {chat.forgotten} messages are forgotten" in err
    assert sample("x" * 40, *words)[0::2] == (2, "error: that has 42 tokens, and the model's context 32\n")
    assert sample("Hi", "--chat", "--model", "ours")[2].startswith("error: the model has no chat template")
    assert sample("Hi", "--chat", "--json")[2].startswith("error: --chat goes without --json")
    write_hugging_face(folder / "chat_hf", model, tokenizer)
    assert open_model(str(folder / "chat_hf"))[1].chat_template == TEMPLATE
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder / "chat_hf")
    talk = [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]
    ids = theirs.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
    assert ids == tokenizer.encode_chat(talk) == [256, *b"S\n\nHi", 256]


def test_weights_in_8_bits(sample: Run, folder: Path) -> None:
    """What the same weights in float32 give, rounded and drawn by the engine, and not what the model gives."""
    words = ("a b", "--model", "modern", "--json", "--temperature", "0", "--logprobs", "0")
    model = random_model(MODERN, block_size=32)
    save_export(folder / "modern", model, byte_tokenizer())
    code, said, _ = sample(*words, "--int8", *SHORT)
    logprobs = [each["logprob"] for each in json.loads(said)["logprobs"]]
    ids = [each["token"] for each in json.loads(said)["logprobs"]]
    assert code == 0 and len(ids) == 6
    text = [*byte_tokenizer().encode("a b").tolist(), *ids]
    for rounded, is_equal in ((to_int8(load_export(folder / "modern")[0]), True), (model, False)):
        expected = rounded(torch.tensor([text]))[0, 2:-1].log_softmax(-1)[range(6), ids]
        assert torch.allclose(torch.tensor(logprobs), expected, atol=1e-3) == is_equal
    assert sample(*words, "--int8", "--precision", "bfloat16")[0] == 2
