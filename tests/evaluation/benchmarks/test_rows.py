"""Rows of the hub, from a stand-in on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.corpus.test_hub import COMMIT
from tests.support.benchmarks import HELLASWAG, write_rows
from tests.support.engine import REPOSITORY
from tests.support.hub import Hub, serve_hub

CARD = """---
configs:
- config_name: default
  data_files:
  - split: validation
    path: validation.jsonl
---
"""
READ = """
import json
from gptcore.errors import UserError
from gptcore.evaluation.benchmarks.rows import pinned, read_rows
source = pinned("hf://Rowan/hellaswag?split=validation")
print(json.dumps([source, list(read_rows(source))]))
try:
    pinned("hf://EleutherAI/wikitext_document_level")
except UserError as error:
    print(json.dumps(str(error)))
"""


def test_the_hub_is_read_at_its_newest_commit(tmp_path: Path) -> None:
    rows = [{**HELLASWAG, "label": label} for label in ("3", "0", "1")]
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/README.md").write_text(CARD)
    write_rows(tmp_path / "hub/validation.jsonl", rows)
    with serve_hub(Hub({"Rowan/hellaswag": tmp_path / "hub"}, COMMIT)) as hub:
        environment = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            [sys.executable, "-c", READ], cwd=tmp_path, env={**os.environ, **environment}, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (source, found), missing = map(json.loads, done.stdout.splitlines())
    assert source == f"hf://Rowan/hellaswag?split=validation&revision={COMMIT}"
    assert found == [[f"hf://Rowan/hellaswag, row {n} of validation", row] for n, row in enumerate(rows, start=1)]
    assert missing.startswith("hf://EleutherAI/wikitext_document_level: the hub has no such data set")
