"""Hugging Face's transformers: GPT-2 as its own class, every other architecture with its model code beside it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from gptcore.files import read_json, write_json
from gptcore.model.gpt import GPT
from gptcore.tokens.huggingface_tokenizer import write_hugging_face_tokenizer
from gptcore.tokens.tokenizer import Tokenizer
from gptcore.weights.exports.target import EXACT, Consumer, Target, refuse_nothing, with_and_without_cache
from gptcore.weights.gpt2 import beyond
from gptcore.weights.huggingface import WRITTEN, write_hugging_face

HERE = Path(__file__).parent
CODE = "modeling_gptcore.py"
OURS = "from gptcore.weights.exports.network import Network"  # whose text stands above, in one file
NEW = 12  # ids that are generated with and without a cache


def target(kind: str) -> Target:
    return Target(("transformers",), EXACT, refuse_nothing, _write, _opened)


def _write(folder: Path, model: GPT, tokenizer: Tokenizer) -> None:
    if not beyond(model.config, activation=[*WRITTEN]):
        write_hugging_face(folder, model, tokenizer)
        return
    tensors = {f"network.{name}": each.detach().contiguous() for name, each in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})  # transformers requires it
    (folder / CODE).write_text(model_code(), encoding="utf-8")
    end = tokenizer.stop_id if tokenizer.stop_id >= 0 else None
    classes = {"AutoConfig": "GPTCoreConfig", "AutoModelForCausalLM": "GPTCoreForCausalLM"}
    values = {
        "model_type": "gptcore", "architectures": ["GPTCoreForCausalLM"],
        "auto_map": {auto: f"{Path(CODE).stem}.{name}" for auto, name in classes.items()},
        "vocab_size": model.vocab_size, "gpt": model.config.model_dump(),
        "tie_word_embeddings": model.config.tied_head, "bos_token_id": end, "eos_token_id": end, "dtype": "float32",
    }  # fmt: skip
    write_json(folder / "config.json", values)
    write_hugging_face_tokenizer(folder, tokenizer)


def model_code() -> str:
    """One file that imports torch and transformers alone."""
    network, code = ((HERE / name).read_text(encoding="utf-8") for name in ("network.py", "model_code.py"))
    docstring, code = code.split("\n\n", 1)
    (imports, classes), (more, others) = _parts(network.split('"""\n', 1)[1]), _parts(code)
    lines = [line for line in dict.fromkeys([*imports, *more]) if line != OURS]
    lines.sort(key=lambda line: line.split()[1].partition(".")[0] not in sys.stdlib_module_names)
    return "\n".join([docstring, "", *lines, "", classes, "", "", others, ""])


def _parts(code: str) -> tuple[list[str], str]:
    """Its imports and the rest."""
    lines = code.splitlines()
    are_imports = [line.startswith(("import ", "from ")) for line in lines]
    rest = "\n".join(line for line, is_import in zip(lines, are_imports, strict=True) if not is_import)
    return list(compress(lines, are_imports)), rest.strip()


@contextmanager
def _opened(folder: Path, model: GPT) -> Iterator[Consumer]:
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # transformers copies model code to its cache, under the folder's name
    with TemporaryDirectory() as temporary:
        named = Path(temporary) / "gptcore_export"
        named.symlink_to(folder.absolute())
        with _quiet(transformers.utils.logging):
            theirs: Any = AutoModelForCausalLM.from_pretrained(named, trust_remote_code=True, local_files_only=True)
        tokenizer: Any = None
        if (folder / "tokenizer.json").is_file():
            tokenizer = AutoTokenizer.from_pretrained(named, trust_remote_code=True, local_files_only=True)
    theirs.eval()
    is_ours = read_json(folder / "config.json")["model_type"] == "gptcore"

    def step(ids: Tensor, previous: Tensor, cache: Any) -> tuple[Tensor, Any]:
        more = {"previous_ids": previous} if is_ours else {}
        given = theirs(ids, past_key_values=cache, use_cache=True, **more)
        return given.logits, given.past_key_values

    def generates_alike(prompts: Tensor) -> bool:
        """Greedily, with and without a cache."""
        new = min(NEW, model.config.block_size - 1)
        prompts = prompts[:, : model.config.block_size - new]
        made = [
            theirs.generate(
                prompts, attention_mask=torch.ones_like(prompts), max_new_tokens=new, do_sample=False,
                use_cache=use_cache, pad_token_id=0, eos_token_id=None,
            )
            for use_cache in (True, False)
        ]  # fmt: skip
        return torch.equal(*made)

    yield Consumer(
        "transformers", transformers.__version__, with_and_without_cache(step),
        encode=tokenizer.encode if tokenizer else None, checks={"the same text with its cache": generates_alike},
    )  # fmt: skip


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Without the bar of loading weights."""
    is_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if is_on:
            logging.enable_progress_bar()
