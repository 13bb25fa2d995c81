"""Export a model to the form of another program, which must then compute what the model does.

gptcore export gpt@champion --to huggingface data/exported/huggingface
gptcore export gpt@champion --to onnx data/exported/onnx
gptcore export data/baseline/export --to gguf --type q8_0 data/exported/gguf
gptcore export gpt2 --to int8 data/exported/int8 --text book.txt

MODEL is a version of the registry, a model folder, a Hugging Face folder, a ckpt.pt, or a name on the hub. OUT is a
new folder; parity.json in it says how the program that reads it was compared with the model, and what came of it.
"""

import argparse
import os
import sys
from pathlib import Path

TARGETS = ("huggingface", "nanogpt", "onnx", "gguf", "int8", "pt2")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--to", choices=TARGETS, required=True)
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder")
    parser.add_argument("--type", default="", help="of gguf's weights: f32 (default), f16 or q8_0")
    parser.add_argument("--text", type=Path, metavar="FILE", help="to compare on; else the validation text of data/")
    parser.add_argument("--tokenizer", type=Path, help="the tokenizer.json of a ckpt.pt; else GPT-2's")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError; exits 1 when the result is not kept because it computes something else."""
    # read when torch is imported: threads that spin would take the time of llama.cpp's and onnxruntime's
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from gptcore.errors import UserError
    from gptcore.weights.exports.export import NotTheSame, export

    if arguments.type and arguments.to != "gguf":
        raise UserError(f"--type is for gguf alone; leave it out with --to {arguments.to}")
    try:
        found = export(
            arguments.model, arguments.to, arguments.out, arguments.type, arguments.text, arguments.tokenizer
        )
    except NotTheSame as error:
        print(f"error: {error}; nothing is kept", file=sys.stderr)
        raise SystemExit(1) from None
    bits, consumer = found["bits_per_byte"], found["consumer"]
    differences = ", ".join(f"{greatest:.2g} {way}" for way, greatest in found["differences"].items())
    print(f"{arguments.out}: {found['bytes']:,} bytes")
    print(f"{consumer['name']} {consumer['version']}: {found['compared']} differ by at most {differences}")
    print(
        f"bits per byte {bits['export']:.4f}, {bits['difference']:+.2g} ({bits['low']:+.2g} to {bits['high']:+.2g}), "
        f"on {bits['tokens']:,} tokens of {bits['text']}"
    )
