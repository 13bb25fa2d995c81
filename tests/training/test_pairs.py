"""Prompts and responses: only responses are learned, with their ends, and records in a window do not see each other."""

import contextlib
import math
import shutil
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from gptcore.commands import data
from gptcore.config.paths import Paths
from gptcore.corpus.documents import document, write_documents
from gptcore.corpus.split import Split
from gptcore.errors import UserError
from gptcore.evaluation.losses import window_losses
from gptcore.evaluation.measure import tokens_for
from gptcore.evaluation.tally import tally
from gptcore.files import write_json
from gptcore.model.folder import save_export
from gptcore.model.gpt import GPT
from gptcore.stages.tokenize import TokenizeConfig, tokenize
from gptcore.tokens.encode import encode
from gptcore.tokens.huggingface_tokenizer import write_hugging_face_tokenizer
from gptcore.tokens.make_tokenizer import byte_tokenizer
from gptcore.tokens.packing import UNCOUNTED, packed, whole_windows
from gptcore.tokens.read_huggingface import read_hugging_face_tokenizer
from gptcore.tokens.token_files import PairTokens, open_tokens, read_index, read_meta, verify_tokens
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.training.overfit import least_loss
from gptcore.training.pair_batches import PairBatches, pair_batches
from gptcore.training.train import TrainState, loss_and_gradients
from tests.support.engine import ADAMW, GPT2, MODERN, TOKENIZE, model_config, optim_config, some_tokens, train_config
from tests.support.weights import random_model

CPU, BLOCK, EOT = torch.device("cpu"), 16, 256
SHAPES = {
    "gpt2": GPT2,
    "modern": {**MODERN, "sliding_window": 3, "n_layer": 3, "bigram_buckets": 7},  # few buckets, so that bigrams tell
    "recomputed": {**MODERN, "activation_checkpointing": True},
}
CONVERSATIONS = [[f"question {number}", "yes" * (number % 3 + 1)] for number in range(24)] + [
    ["one", "two", "three", "four"],
    ["", "nothing was asked"],
    ["a long question, longer than the window", "short"],
]


def pair_tokens(folder: Path) -> PairTokens:
    found = open_tokens(folder / "data/tokens", "train")
    assert isinstance(found, PairTokens)
    return found


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    (root / "data/raw").mkdir(parents=True)
    documents = (
        document("".join(turns), f"qa.jsonl: record {number}", tuple(map(len, turns)))
        for number, turns in enumerate(CONVERSATIONS, start=1)
    )
    write_documents(root / "data/raw/documents.jsonl", documents, "")
    tokenize(tokenize=TokenizeConfig(**TOKENIZE), paths=Paths(root))
    return root


def test_the_mask_marks_responses_and_their_ends(workspace: Path) -> None:
    folder, raw = workspace / "data/tokens", Paths(workspace).raw
    meta, tokenizer = verify_tokens(folder), Tokenizer.load(folder / "tokenizer.json")
    learned = 0
    for split, of_split in meta.splits().items():
        found = open_tokens(folder, split)
        assert isinstance(found, PairTokens) and raw.exists()
        assert len(np.fromfile(folder / f"{split}.bin", np.uint16)) == of_split.tokens, "nanoGPT reads it as any other"
        rows = whole_windows(found, 100).rows(range(len(whole_windows(found, 100))))
        for _, size, line in read_index(folder, split):
            turns = CONVERSATIONS[line]
            assert size == len("".join(turns[1::2]).encode())
            ids = [number for turn in turns for number in (EOT, *tokenizer.encode(turn).tolist())]
            row, at = next(
                (row, at)
                for row, starts in enumerate(rows.starts)
                for at in np.unique(starts)
                if rows.ids[row, at : at + len(ids)].tolist() == ids and (starts == at).sum() == len(ids)
            )
            expected = [number for turn in turns[1::2] for number in (*tokenizer.encode(turn).tolist(), EOT)]
            targets = rows.targets[row, at : at + len(ids)]
            assert targets[targets != UNCOUNTED].tolist() == expected, "each response, from its first id to its end"
            assert tokenizer.encode_chat([{"role": "user", "content": turns[0]}]) == ids[: ids.index(EOT, 1) + 1]
        learned += int((rows.targets >= 0).sum())
    assert learned == sum(len(turn.encode()) + 1 for turns in CONVERSATIONS for turn in turns[1::2])
    (folder / "val.mask.bin").rename(folder / "away")
    with pytest.raises(UserError, match=r"val.mask.bin is missing"):
        verify_tokens(folder)
    (folder / "away").rename(folder / "val.mask.bin")


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=40))
def test_every_record_is_in_one_window_and_no_window_overflows(lengths: list[int]) -> None:
    windows = packed(np.array(lengths), 20)
    assert sorted(number for window in windows for number in window) == list(range(len(lengths)))
    filled = [sum(lengths[number] for number in window) for window in windows]
    assert max(filled) <= 20
    assert len(windows) <= 2 * math.ceil(sum(lengths) / 20), "two windows of half their room would have been one"


def some_model(shape: str) -> GPT:
    model = GPT(model_config(SHAPES[shape]), EOT + 1, seed=1)
    torch.manual_seed(1)
    for parameter in model.parameters():  # zero-initialized weights would hide the layers below them
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    return model


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_records_in_a_window_are_what_they_are_alone(shape: str, dtype: torch.dtype) -> None:
    model = some_model(shape)
    ids, lengths = torch.from_numpy(some_tokens(16, EOT).astype(np.int64)), [5, 1, 7, 3]
    starts = torch.tensor(np.repeat(np.cumsum([0, *lengths[:-1]]), lengths))
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        together = model(ids[None], starts=starts[None])[0]
        alone = torch.cat([model(each[None])[0] for each in ids.split(lengths)])
    tolerance = 1e-5 if dtype == torch.float32 else 0.15
    torch.testing.assert_close(together, alone, atol=tolerance, rtol=tolerance)
    model.zero_grad()
    model(ids[None], starts=starts[None])[0, 5:6].square().sum().backward()  # the record of one id
    packed_gradients = [each.grad for each in model.parameters()]
    model.zero_grad()
    model(ids[None, 5:6])[0].square().sum().backward()
    for found, each in zip(packed_gradients, model.parameters(), strict=True):
        assert found is not None and each.grad is not None
        torch.testing.assert_close(found, each.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_not_counted_has_no_gradient_and_the_rest_has_its_mean(shape: str) -> None:
    model = some_model(shape).train()
    ids = torch.from_numpy(some_tokens(32, EOT).astype(np.int64)).view(2, 16)
    starts, targets = torch.zeros_like(ids), ids.roll(-1, 1)
    hidden: list[torch.Tensor] = []
    model.ln_f.register_forward_hook(lambda module, inputs, output: (output.retain_grad(), hidden.append(output))[0])
    counted = torch.zeros(2, 16, dtype=torch.bool)
    counted[0, 3:6] = counted[1, 15] = True
    masked = torch.where(counted, targets, UNCOUNTED)
    loss = model(ids, masked, starts)
    loss.backward()
    assert hidden[0].grad is not None
    assert not hidden[0].grad[~counted].any() and hidden[0].grad[counted].any(-1).all()
    torch.testing.assert_close(loss, F.cross_entropy(model(ids).flatten(0, 1), masked.flatten()))
    other = torch.where(counted, targets, (targets + 1) % EOT)
    assert model(ids, other, starts) != loss, "they count where they are not masked"
    nothing = model(ids, torch.full_like(ids, UNCOUNTED), starts)
    nothing.backward()
    assert nothing == 0 and all(each.grad.isfinite().all() for each in model.parameters() if each.grad is not None)


@given(micro_batch=st.integers(1, 9), step=st.integers(0, 9), shape=st.sampled_from([*SHAPES]))
@settings(deadline=None, max_examples=4)
def test_micro_batches_with_unlike_numbers_of_targets_add_up(
    workspace: Path, micro_batch: int, step: int, shape: str
) -> None:
    tokens = pair_tokens(workspace)
    recipe = train_config(batch_tokens=8 * BLOCK)
    state = TrainState(model_config(SHAPES[shape]), optim_config(ADAMW), recipe, tokens, EOT + 1, CPU)
    state.batches = pair_batches(tokens, Paths(workspace), BLOCK, 8, "epochs", 7)
    found = []
    for size in (8, micro_batch):
        state.model.zero_grad(set_to_none=True)
        measured = loss_and_gradients(state, state.batches[step], size)
        found.append([measured[0], *(each.grad for each in state.model.parameters())])
    ids, targets, starts = state.batches[step]
    torch.testing.assert_close(found[0][0], state.model(ids, targets, starts))
    assert len({int(each) for each in (targets >= 0).sum(1)}) > 1, "else a mean of means would do"
    for whole, added in zip(*found, strict=True):
        torch.testing.assert_close(added, whole, rtol=1e-4, atol=5e-5 * whole.abs().max().item())


def test_a_record_whose_response_is_cut_off_is_left_out_by_name(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = pair_tokens(workspace)
    batches = pair_batches(tokens, Paths(workspace), BLOCK, 4, "epochs", 7)
    lines = read_index(workspace / "data/tokens", "train")[:, 2]
    cut = [line for line in lines if len(CONVERSATIONS[line][0]) + 2 > BLOCK]
    assert batches.left_out == len(cut) and cut
    said = capsys.readouterr().out
    assert all(f"qa.jsonl: record {line + 1}" in said for line in cut) and said.count("record") == len(cut)
    assert "no response begins within the 16 tokens of model.block_size" in said
    kept = sum(len(each) for each in batches.windows.windows)
    assert kept == len(lines) - len(cut)
    with pytest.raises(UserError, match=r"^no response begins within the 1 tokens .* any of the"):
        pair_batches(tokens, Paths(workspace), 1, 4, "epochs", 7)


@pytest.mark.parametrize("order", ["epochs", "crops"])
def test_an_epoch_visits_every_window_once(workspace: Path, order: str) -> None:
    windows = whole_windows(pair_tokens(workspace), BLOCK)
    batches, again = (PairBatches(windows, len(windows), order, 3) for _ in range(2))  # type: ignore[arg-type]
    epochs = [batches[step][0] for step in range(3)]
    assert torch.equal(again[2][0], epochs[2]), "without the steps before"
    rows = [sorted(map(tuple, epoch.tolist())) for epoch in epochs]
    everything = sorted(map(tuple, windows.rows(range(len(windows))).ids.tolist()))
    assert (rows[0] == rows[1] == everything) == (order == "epochs")
    assert not torch.equal(epochs[0], epochs[1])


@pytest.mark.parametrize("shape", ["gpt2", "modern"])
def test_evaluation_scores_every_response_token_once_and_nothing_else(workspace: Path, shape: str) -> None:
    model, folder = some_model(shape), workspace / "data/tokens"
    tokens, index = pair_tokens(workspace), read_index(folder, "train")
    found = tally(model, tokens, index[:, 0], BLOCK, 4)
    expected = [sum(len(turn) + 1 for turn in CONVERSATIONS[line][1::2]) for line in index[:, 2]]
    assert found.documents.tokens.tolist() == expected
    assert found.windows.tokens.sum() == found.positions.tokens.sum() == sum(expected)
    losses, counts = window_losses(model, tokens, BLOCK)
    np.testing.assert_allclose(losses, found.windows.losses)
    assert counts.tolist() == found.windows.tokens.tolist()
    assert len(window_losses(model, tokens, BLOCK, at_most=3)[0]) == 3
    record = int(np.flatnonzero(index[:, 2] == 3)[0])  # fits into a window
    ids = torch.tensor([EOT, *b"question 3", EOT, *b"yes", EOT])
    alone = F.cross_entropy(model(ids[None, :-1])[0, -4:], ids[-4:], reduction="sum").item()
    assert found.documents.losses[record] == pytest.approx(alone, rel=1e-4)


def test_a_model_with_another_tokenizer_is_scored_on_the_same_responses(workspace: Path) -> None:
    folder = workspace / "data/tokens"
    ours = Tokenizer.load(folder / "tokenizer.json")
    assert ours == replace(ours, chat_template=""), "a template makes no other tokenizer"
    tokens, starts = tokens_for(ours, folder, read_meta(folder))
    merged = Tokenizer("bpe", ours.pattern, (*ours.tokens, b"ye", b"yes"))
    shorter, other_starts = tokens_for(merged, folder, read_meta(folder))
    assert isinstance(tokens, PairTokens) and isinstance(shorter, PairTokens)
    assert len(shorter) == len(shorter.mask) and len(starts) == len(other_starts)

    def responses(found: PairTokens, tokenizer: Tokenizer) -> str:
        return tokenizer.decode([token for token, learned in zip(found[:], found.mask, strict=True) if learned])

    assert responses(tokens, ours) == responses(shorter, merged)


def test_the_least_loss_takes_records_one_by_one() -> None:
    ids = torch.tensor([[9, 1, 9, 1, 0, 0], [9, 1, 9, 2, 0, 0]])
    starts = torch.tensor([[0, 0, 2, 2, 4, 4]] * 2)
    targets = torch.full_like(ids, UNCOUNTED)
    targets[0, 1], targets[0, 3], targets[1, 1], targets[1, 3] = 5, 6, 5, 7  # after 9 1: 5, 6, 5; after 9 2: 7
    assert least_loss(ids, targets, starts) == pytest.approx((2 * math.log(3 / 2) + math.log(3)) / 4)


def test_the_command_data_shows_what_is_learned(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(workspace / "data/raw/sources.json", {"text_sha256": "0" * 64, "files": []})
    with contextlib.chdir(workspace):
        data.run(Namespace(what="inspect", windows=1, tokens=10_000, seed=1))
    said = capsys.readouterr().out
    tokens = pair_tokens(workspace)
    assert f"of which {int(tokens.mask.sum()):,} tokens of responses are learned" in said
    shown = said.partition("learned of it:\n")[2].splitlines()[0]
    lines = read_index(workspace / "data/tokens", "train")[:, 2]
    expected = "<|endoftext|>".join(turn for line in lines for turn in CONVERSATIONS[line][1::2])
    assert shown == expected, "of the last, no end follows in the split"


def test_a_conversation_is_in_one_split() -> None:
    talk = document("askanswer", "qa.jsonl: record 7", (3, 6))
    for whole in ([9, 9], [0, 9], [0, 0]):
        found = encode(byte_tokenizer(), [talk], np.array([whole]))
        assert sorted(len(each.ids) for each in found.values()) == [0, 0, 11]
    with pytest.raises(UserError, match=r"^qa.jsonl: record 7: would be cut: .* need tokenize.val_split=documents$"):
        encode(byte_tokenizer(), [talk], np.array([[5, 9]]))


OWN = (
    "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{{ '<|endoftext|>' if m.role == 'assistant' }}{% endfor %}"
    "{{ '<a>' if add_generation_prompt }}"
)


def test_records_are_written_in_the_starts_own_template(workspace: Path, tmp_path: Path) -> None:
    """And a model with another tokenizer is scored on the same responses, from the corpus."""
    (tmp_path / "hf").mkdir()
    write_hugging_face_tokenizer(tmp_path / "hf", byte_tokenizer())
    read = read_hugging_face_tokenizer(tmp_path / "hf")
    assert read
    save_export(tmp_path / "data/start/model", random_model(GPT2, read.n_vocab), replace(read, chat_template=OWN))
    shutil.copytree(workspace / "data/raw", tmp_path / "data/raw")
    tokenize(tokenize=TokenizeConfig(**{**TOKENIZE, "tokenizer": "start"}), paths=Paths(tmp_path))
    folder = tmp_path / "data/tokens"
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    assert tokenizer.chat_template == OWN

    def responses(split: Split) -> list[str]:
        return [turn for line in read_index(folder, split)[:, 2] for turn in CONVERSATIONS[line][1::2]]

    tokens = pair_tokens(tmp_path)
    learned = tokens[:][1:][tokens.mask[:-1] == 1]
    assert tokenizer.decode(learned) == "".join(f"{each}<|endoftext|>" for each in responses("train"))
    rows = whole_windows(tokens, 100).rows(range(len(whole_windows(tokens, 100))))
    assert sorted(rows.targets[rows.targets != UNCOUNTED]) == sorted(learned)
    other, _ = tokens_for(byte_tokenizer(), folder, read_meta(folder))
    assert isinstance(other, PairTokens)
    assert int(other.mask.sum()) == sum(len(each) + 1 for each in responses("val"))
