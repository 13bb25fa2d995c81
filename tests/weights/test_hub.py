"""Models of the hub by name, from a hub on loopback, through its real client."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from gptcore.errors import Unavailable, UserError
from gptcore.files import SUMS, read_sums
from gptcore.model.folder import save_export
from gptcore.tokens.make_tokenizer import byte_tokenizer, train_bpe
from gptcore.weights.hub import is_hub_name
from gptcore.weights.huggingface import write_hugging_face
from gptcore.weights.open_model import open_model
from gptcore.weights.pinned import pinned, pinned_start
from tests.support.engine import GPT2
from tests.support.hub import COMMIT, Hub, asks, serve_hub
from tests.support.weights import TEXT, assert_same, random_model

MODEL = random_model(GPT2, 300, activation="gelu_tanh")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The only one that the client knows here. It has a GPT-2 with a tokenizer of its own, and one without."""
    write_hugging_face(tmp_path / "tiny", MODEL, train_bpe(iter([TEXT * 9]), 300))
    write_hugging_face(tmp_path / "distil", random_model(GPT2), byte_tokenizer())
    (tmp_path / "tiny/pytorch_model.bin").write_bytes(b"is not fetched")
    served = {"owner/tiny": tmp_path / "tiny", "distilbert/distilgpt2": tmp_path / "distil"}
    with serve_hub(Hub(served, COMMIT)) as hub:
        asks(hub.address, tmp_path / "cache", monkeypatch)
        yield hub


def test_a_model_is_pinned_by_its_commit_and_its_weights(hub: Hub, tmp_path: Path) -> None:
    save_export(tmp_path / "same", MODEL, byte_tokenizer())
    sha256 = read_sums(tmp_path / "same")["model.safetensors"]
    name = f"owner/tiny@{COMMIT}"
    assert pinned("owner/tiny") == pinned("owner/tiny@main") == pinned(name) == (name, sha256)
    start = pinned_start("owner/tiny", {})
    assert (start.name, start.sha256, start.model, start.text) == (name, sha256, MODEL.config, None)
    assert not any("pytorch_model.bin" in each for each in hub.requests)
    hub.requests.clear()
    model, tokenizer = open_model(name)
    assert not hub.requests, "a commit that is in the cache is not asked for"
    assert_same(model, MODEL)
    assert (tokenizer.kind, tokenizer.n_vocab) == ("huggingface", 300)


def test_a_short_name_has_gpt2s_tokenizer_whatever_its_files_say(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptcore.weights.with_tokenizer._gpt2", byte_tokenizer)
    for name in ("distilgpt2", "distilbert/distilgpt2"):
        assert open_model(name)[1] == byte_tokenizer()
    assert not any("tokenizer" in each for each in hub.requests)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("owner/none", r"owner/none (there is no such path here): the hub has no such model, or it is private"),
        ("owner/tiny@v9", "has no revision v9"),
        ("distilgpt3", "there is no model distilgpt3: name a model folder"),
    ],
)
def test_what_the_hub_has_not(hub: Hub, name: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        pinned(name)
    assert said in str(error.value) and "\n" not in str(error.value) and not isinstance(error.value, Unavailable)


@pytest.mark.parametrize(("roots", "is_open"), [(". hf://distilbert", False), ("hf://owner", True)])
def test_the_hub_may_be_closed(hub: Hub, monkeypatch: pytest.MonkeyPatch, roots: str, is_open: bool) -> None:
    monkeypatch.setenv("GPTCORE_DATA_ROOTS", roots)
    with nullcontext() if is_open else pytest.raises(UserError, match="hf://owner/tiny is not in GPTCORE_DATA_ROOTS"):
        pinned("owner/tiny")
    assert bool(hub.requests) == is_open


def test_without_the_hub_it_is_worth_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asks("http://127.0.0.1:9", tmp_path, monkeypatch)
    with pytest.raises(Unavailable, match=r"^owner/tiny \(there is no such path here\) cannot be read: .*try again"):
        pinned("owner/tiny")


def test_a_path_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_export(tmp_path / "owner/tiny", MODEL, byte_tokenizer())
    assert pinned("owner/tiny") == ("owner/tiny", read_sums(tmp_path / "owner/tiny")["model.safetensors"])
    assert (tmp_path / "owner/tiny" / SUMS).exists() and not is_hub_name("owner/tiny") and is_hub_name("owner/other")
