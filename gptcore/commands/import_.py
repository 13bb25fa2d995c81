"""Import weights into a model folder: Hugging Face GPT-2, nanoGPT's ckpt.pt, a name on the hub, a registered version.

gptcore import gpt2 data/imported/gpt2
gptcore import owner/name data/imported/other
gptcore import gpt@3 data/imported/merged --adapter data/model/best
gptcore import out-shakespeare-char/ckpt.pt data/imported/nanogpt --tokenizer data/tokens/tokenizer.json
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="a folder, a ckpt.pt, gpt@champion, gpt2, or owner/name of the hub")
    parser.add_argument("folder", type=Path, help="where model.safetensors, config.json and tokenizer.json go")
    parser.add_argument(
        "--tokenizer", type=Path, help="the model's tokenizer.json; else its folder's own, else GPT-2's"
    )
    parser.add_argument("--adapter", type=Path, metavar="ADAPTER", help="a folder with an adapter to merge into it")


def run(arguments: argparse.Namespace) -> None:
    from gptcore.errors import UserError
    from gptcore.model.folder import save_export
    from gptcore.weights.open_model import fitted_model

    if arguments.folder.exists():
        raise UserError(f"{arguments.folder} is there already; name a new folder, or remove it")
    model, tokenizer, changes = fitted_model(arguments.source, arguments.tokenizer, arguments.adapter)
    save_export(arguments.folder, model, tokenizer)
    print(*changes, f"{arguments.folder}: {model.parameter_count():,} parameters", sep="\n")
