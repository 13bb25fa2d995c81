"""Small models, recipes and workspaces for the tests of gptcore."""

import contextlib
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np

import gptcore.stages.run_stage
from gptcore.files import write_json
from gptcore.model.config import ModelConfig
from gptcore.training.config import OptimConfig, TrainConfig
from tests.support.forked import Forked
from tests.support.patience import PATIENCE

if TYPE_CHECKING:  # torch takes 2 s
    from gptcore.model.gpt import GPT
    from gptcore.tokens.tokenizer import Tokenizer

# by its client in a test process, of the registry that it asked last; a training would be tracked there
LEFT_BY_MLFLOW = "MLFLOW_TRACKING_URI"
REPOSITORY = Path(__file__).parents[2]
SIZE: dict[str, Any] = {"n_layer": 2, "n_head": 2, "n_embd": 32, "block_size": 16, "dropout": 0.0}
GPT2: dict[str, Any] = {
    **SIZE, "bias": True, "norm": "layernorm", "position": "learned", "rope_base": 10000.0, "activation": "gelu",
    "qk_norm": False, "attention_scale": 0.0, "tied_head": True, "zero_init": False, "embedding_norm": False,
    "residual_scalars": False, "value_embeddings": False, "bigram_buckets": 0, "logit_softcap": 0.0,
    "sliding_window": 0, "activation_checkpointing": False,
}  # fmt: skip
MODERN: dict[str, Any] = {
    **SIZE, "bias": False, "norm": "rmsnorm", "position": "rope", "rope_base": 10000.0, "activation": "relu2",
    "qk_norm": True, "attention_scale": 0.0, "tied_head": False, "zero_init": True, "embedding_norm": True,
    "residual_scalars": True, "value_embeddings": True, "bigram_buckets": 64, "logit_softcap": 15.0,
    "sliding_window": 0, "activation_checkpointing": False,
}  # fmt: skip
ADAMW: dict[str, Any] = {
    "matrices": "adamw", "matrix_learning_rate": 3e-3, "embedding_learning_rate": 3e-3, "head_learning_rate": 3e-3,
    "scalar_learning_rate": 3e-3, "adam_betas": [0.9, 0.99], "adam_eps": 1e-8, "muon_momentum": 0.95,
    "muon_momentum_warmup_steps": 0, "matrix_weight_decay": 0.1, "embedding_weight_decay": 0.1, "gradient_clip": 1.0,
    "schedule": "cosine", "warmup_steps": 5, "cooldown_fraction": 0.0, "final_learning_rate_fraction": 0.1,
}  # fmt: skip
MUON: dict[str, Any] = {
    **ADAMW, "matrices": "muon", "matrix_learning_rate": 0.02, "embedding_learning_rate": 0.1,
    "adam_betas": [0.8, 0.95], "matrix_weight_decay": 0.05, "embedding_weight_decay": 0.0, "schedule": "wsd",
    "cooldown_fraction": 0.5, "muon_momentum_warmup_steps": 20,
}  # fmt: skip
TRAIN: dict[str, Any] = {
    "start": "", "start_sha256": "",
    "seed": 7, "steps": 120, "batch_tokens": 128, "order": "epochs", "precision": "float32", "target_loss": 0.0,
    "spike_nats": 0.0, "skipped_batches_limit": 2, "samples": 2,
    "sample_prompt": "", "sample_tokens": 8,
}  # fmt: skip
LORA: dict[str, Any] = {
    "rank": 0, "alpha": 8.0, "dropout": 0.0, "targets": ["q", "v", "mlp"], "base": "float32", "learning_rate": 1e-2,
}  # fmt: skip
CURVE: dict[str, Any] = {"points": 6, "windows": 8, "block_size": 16}
DATA: dict[str, Any] = {
    "source": "texts", "sha256": "", "exclude": ["_temporary"], "format": "auto", "text": "text",
    "pairs": False, "prompt": "", "response": "", "delimiter": "",
    "languages": [], "language_field": "language", "min_bytes": 1, "deduplicate": False, "max_documents": 0,
    "max_bytes": 0, "mode": "files", "shuffle_tokens": 4096,
}  # fmt: skip
TOKENIZE: dict[str, Any] = {
    "tokenizer": "byte", "vocab_size": 257, "sample_bytes": 1_000_000, "sentencepiece_model": "",
    "sentencepiece_sha256": "", "val_fraction": 0.25, "test_fraction": 0.0, "val_split": "documents", "seed": 1,
}  # fmt: skip
TEXT = "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer. " * 40


NOTHING_RETAINED: dict[str, Any] = {"text_sha256": "", "data": None, "tokenize": None}


def model_config(values: dict[str, Any], **changes: Any) -> ModelConfig:
    return ModelConfig(**{**values, **changes})


def optim_config(values: dict[str, Any], **changes: Any) -> OptimConfig:
    merged = {**values, **changes}
    return OptimConfig(**{**merged, "adam_betas": tuple(merged["adam_betas"])})


def train_config(**changes: Any) -> TrainConfig:
    return TrainConfig(**{**TRAIN, **changes})


def some_tokens(n: int = 4000, vocab_size: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, vocab_size, n).astype(np.uint16)


def make_workspace(root: Path, **params: Any) -> Path:
    """A folder with params.yaml and byte-level data/tokens, ready for the stages train, baseline and evaluate."""
    for path, content in _tokenized().items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    recipe = {"seed": 7, "batch_tokens": 64, "precision": "float32", "model": GPT2, "optim": ADAMW}
    sections = {
        "retained": NOTHING_RETAINED,
        "model": MODERN,
        "lora": LORA,
        "optim": MUON,
        "train": TRAIN,
        "curve": CURVE,
        "baseline": {"source": "train", "sha256": "", **recipe},
        "evaluate": {"block_size": 16, "stride": 16, "tasks": []},
    }
    write_json(root / "params.yaml", {**sections, **params})  # JSON is YAML
    return root


@functools.cache
def _tokenized() -> dict[str, bytes]:
    """What the stages tokenize and start make of four documents, by file; each of some hundred workspaces has it."""
    from gptcore.config.paths import Paths
    from gptcore.stages.start import RetainedConfig, StartChoice, start
    from gptcore.stages.tokenize import TokenizeConfig, tokenize

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "data/raw").mkdir(parents=True)
        documents = [{"title": title, "text": title + TEXT} for title in ("one", "two", "three", "four")]
        lines = "".join(json.dumps(each) + "\n" for each in documents)
        (root / "data/raw/documents.jsonl").write_text(lines)
        tokenize(tokenize=TokenizeConfig(**TOKENIZE), paths=Paths(root))
        start(StartChoice(start="", start_sha256=""), RetainedConfig(**NOTHING_RETAINED), Paths(root))
        return {str(each.relative_to(root)): each.read_bytes() for each in root.rglob("*") if each.is_file()}


def begin_with(root: Path, model: "GPT", tokenizer: "Tokenizer | None" = None, **retained: Any) -> Path:
    """Let the training of a workspace go on from `model`, whose folder is `from` there; bring it to data/start."""
    from gptcore.files import read_sums
    from gptcore.model.folder import save_export
    from gptcore.tokens.make_tokenizer import byte_tokenizer

    save_export(root / "from", model, tokenizer or byte_tokenizer())
    values = json.loads((root / "params.yaml").read_text())
    values["train"] |= {"start": "from", "start_sha256": read_sums(root / "from")["model.safetensors"]}
    values["retained"] = {**NOTHING_RETAINED, **retained}
    write_json(root / "params.yaml", values)
    assert run_stage_here("start", root) == 0
    return root


def start_stage(stage: str, root: Path, **environment: str) -> subprocess.Popen[str]:
    """Start the stage as a person does, `python -m`: for what launches ranks or workers of its own."""
    env = _environment(environment)
    command = [sys.executable, "-m", f"gptcore.stages.{stage}"]
    return subprocess.Popen(command, cwd=root, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def start_training(root: Path, module: str = "gptcore.stages.train", **environment: str) -> Forked:
    """Start a training in a process of its own, which has torch from the start."""
    return Forked(module, root, _environment(environment))


def train(root: Path, **environment: str) -> tuple[int, str]:
    """Train in a process of its own; return its exit code and output."""
    process = start_training(root, **environment)
    output, _ = process.communicate(timeout=PATIENCE)
    return process.wait(), output


def _environment(environment: dict[str, str]) -> dict[str, str]:
    ours = {**os.environ, "PYTHONPATH": str(REPOSITORY), "GPTCORE_CHECKPOINT_SECONDS": "0.1"}
    ours.pop(LEFT_BY_MLFLOW, None)
    return ours | environment


def run_stage(stage: str, root: Path, **environment: str) -> tuple[int, str]:
    """Run the stage in a separate process; return its exit code and output."""
    process = start_stage(stage, root, **environment)
    output, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, output


def run_stage_here(stage: str, root: Path) -> int:
    """Run the stage in this process, which saves importing torch; return its exit code."""
    function = getattr(importlib.import_module(f"gptcore.stages.{stage}"), stage)
    with contextlib.chdir(root), patch.object(sys, "argv", [stage]), patch.dict(os.environ):
        os.environ.pop(LEFT_BY_MLFLOW, None)
        try:
            gptcore.stages.run_stage.run_stage(function)
        except SystemExit as end:
            return int(end.code or 0)
    return 0
