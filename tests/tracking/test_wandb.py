"""Weights & Biases, offline: it keeps what it hears in a folder for `wandb sync`."""

import json
from pathlib import Path

import pytest

from gptcore.tracking.sending import Sending
from gptcore.tracking.trackers import open_tracker


def test_it_hears_of_a_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    box = tmp_path / "data/scratch/tracking/wandb/0123456789abcdef"
    box.mkdir(parents=True)
    begin = {"fingerprint": box.name, "name": "gentle-phoenix", "step": 0, "params": {"train": {"steps": 9}}}
    point = {"step": 1, "time": 1000, "values": {"loss": 2.5}, "sample": "To be"}
    lines = [{"begin": {**begin, "tokens": {}}}, {"point": point}, {"end": "FINISHED", "tags": {"model_sha256": "abc"}}]
    (box / "1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Sending(box, open_tracker("wandb", box.parent, "", tmp_path)).send()
    (file,) = (box.parent / "wandb").glob("offline-run-*/*.wandb")
    assert b"gentle-phoenix" in file.read_bytes() and b"model_sha256" in file.read_bytes()
    assert [each.read_text() for each in (box.parent / "wandb").rglob("step-*.txt")] == ["To be"]
    assert not box.exists()
