"""The real flow with the real stages on a small synthetic text: what a new user gets from `make train`, in a minute."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gptcore.config import presets
from tests.support import scratch

pytestmark = pytest.mark.slow

WORDS = "the king queen and his fool her sword my lord love is dead alas no more to be or not in night"
LOAD = """
import json, mlflow
mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model("models:/gpt@challenger")
print(json.dumps(model.predict(["the king", "my"], params={"n_tokens": 20, "seed": 1})))
"""


def sentences(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS.split()) for _ in range(2000)) + "\n"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the current checkout, configured for a small text and few steps."""
    root = tmp_path_factory.mktemp("end-to-end") / "checkout"
    tracked = subprocess.run(["git", "ls-files"], cwd=scratch.CHECKOUT, capture_output=True, text=True, check=True)
    for name in tracked.stdout.split():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(scratch.CHECKOUT / name, root / name)
    texts = [sentences(random.Random(number)) for number in range(4)]
    (root / "texts").mkdir()
    for number, text in enumerate(texts):
        (root / "texts" / f"{number}.txt").write_text(text)
    digest = hashlib.sha256("".join(texts).encode()).hexdigest()
    overrides = ["experiment=quick", "tokenizer=byte", "train.steps=20", "data.source=texts"]
    params = presets.compose([*overrides, f"data.sha256={digest}"], root / "params.yaml")
    presets.write(params, root / "params.yaml")
    (root / "dvc.lock").unlink(missing_ok=True)
    scratch.run(root, "git", "init", "--quiet")
    scratch.commit(root)
    return root


def test_whole_flow(checkout: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server)
    output = scratch.run(checkout, *scratch.flow_command())
    for expected in ("nanoGPT's recipe", "bits per byte", "gpt version 1 is", "A sample of its text", "dvc exp show"):
        assert expected in output
    assert "Data and pipelines are up to date" in scratch.run(checkout, "dvc", "repro")
    assert (checkout / "data/evaluation/loss.png").read_bytes().startswith(b"\x89PNG")
    answers = scratch.run(checkout, sys.executable, "-c", LOAD).splitlines()[-1]
    first, second = json.loads(answers)
    assert first.startswith("the king") and len(first) > len("the king")
    assert second.startswith("my") and len(second) > len("my")
