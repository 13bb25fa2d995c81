"""Export a model folder to another program's format: Hugging Face's transformers or nanoGPT.

gptcore export data/baseline/export --to huggingface data/exported/baseline
gptcore export data/baseline/export --to nanogpt data/exported/ckpt.pt
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="holds model.safetensors, config.json and tokenizer.json")
    parser.add_argument("--to", choices=["huggingface", "nanogpt"], required=True)
    parser.add_argument("destination", type=Path, help="a folder for huggingface, a .pt file for nanogpt")


def run(arguments: argparse.Namespace) -> None:
    from gptcore.errors import UserError
    from gptcore.model.folder import load_export
    from gptcore.weights.huggingface import write_hugging_face
    from gptcore.weights.nanogpt import write_nanogpt

    if arguments.destination.exists():
        raise UserError(f"{arguments.destination} is there already; name a new place, or remove it")
    model, tokenizer = load_export(arguments.folder)
    if arguments.to == "huggingface":
        write_hugging_face(arguments.destination, model, tokenizer)
    else:
        write_nanogpt(arguments.destination, model)
    print(arguments.destination)
