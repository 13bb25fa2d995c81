r"""Continue a prompt with a model: the champion, a model folder, Hugging Face's or nanoGPT's form, or a hub name.

gptcore sample "ROMEO."
gptcore sample "ROMEO." --temperature 0.7 --top-k 40 --max-new-tokens 300 -n 3 --seed 1 --stop "\n\n"
gptcore sample - --model data/baseline/export --json
gptcore sample --model gpt2
gptcore sample --chat

Text appears as it is made in a terminal, and whole, a line after each text, in a pipe. Without a prompt it asks for
prompts, until the end of the input. The same command gives the same text on the same machine. With --chat, prompts are
what is said in one conversation with a model that has learned to answer, and its answers are printed alone.
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gptcore.errors import UserError
from gptcore.generation.sampling import Sampling

if TYPE_CHECKING:
    from gptcore.generation.complete import Wish
    from gptcore.generation.engine import Engine
    from gptcore.tokens.tokenizer import Tokenizer

ESCAPES = {r"\n": "\n", r"\t": "\t", r"\r": "\r", r"\\": "\\"}
NUMBERS = ("temperature", "top_k", "top_p", "min_p", "seed", "repetition_penalty", "presence_penalty",
           "frequency_penalty")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", help="- reads prompts from standard input, one a line")
    parser.add_argument("--model", default="gpt@champion", metavar="MODEL",
        help="gpt@champion, gpt@3, a folder, a ckpt.pt, or a name on the hub; %(default)s if not given")  # fmt: skip
    parser.add_argument("--tokenizer", type=Path, help="the tokenizer.json of a checkpoint; else its own, or GPT-2's")
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="an adapter of that model, added to it")
    parser.add_argument("--max-new-tokens", type=int, default=200, metavar="N", help="%(default)s if not given")
    parser.add_argument("-n", type=int, default=1, metavar="N", help="texts for each prompt")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help=r"ends a text; knows \n, \t")
    parser.add_argument("--stop-id", action="append", default=[], type=int, metavar="ID", help="an id that ends a text")
    for name in NUMBERS:
        field = Sampling.model_fields[name]
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(field.default), default=field.default, metavar="X",
            help=f"{field.description}; {field.default} if not given",
        )  # fmt: skip
    parser.add_argument("--logit-bias", action="append", default=[], metavar="ID=X", help="added to the logit of an id")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32",
        help="bfloat16 halves the time of large models on processors that have it, and rounds more")  # fmt: skip
    parser.add_argument("--int8", action="store_true", help="weights in 8 bits, on a CPU: a quarter of the memory")
    parser.add_argument("--slide", action="store_true", help="go on beyond the context, recomputing it for each token")
    parser.add_argument("--logprobs", type=int, metavar="N", help="with --json: log-probabilities, and the N likeliest")
    parser.add_argument("--echo", action="store_true", help="with --logprobs: those of the prompt too")
    parser.add_argument("--chat", action="store_true", help="a conversation, by the model's chat template")
    parser.add_argument("--json", action="store_true", help="an object a line for each text, with why it ended")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # large weights in pages of 2 MB are read up to a tenth faster
    import gptcore.stages  # noqa: F401  before torch: where others compute, its threads do not spin
    from gptcore.config.settings import settings
    from gptcore.generation.complete import engine_for
    from gptcore.generation.threads import suited_to
    from gptcore.model.int8 import to_int8
    from gptcore.weights.open_model import open_model

    wish = _wish(arguments)
    if arguments.int8 and arguments.precision != "float32":
        raise UserError(f"--int8 has a precision of its own; leave out --precision {arguments.precision}")
    model, tokenizer = open_model(arguments.model, arguments.tokenizer, arguments.adapter)
    model.to(settings().torch_device())
    if arguments.int8:
        model = to_int8(model)
    asks = arguments.prompt is None and sys.stdin.isatty()
    is_one = asks or arguments.prompt not in (None, "-")
    engine = engine_for(model, tokenizer, wish.n if is_one else sys.maxsize, arguments.precision)
    try:
        with suited_to(model):
            if arguments.chat:
                _talk(_asked() if asks else [arguments.prompt] if is_one else _lines(), engine, tokenizer, wish, asks)
                return
            if not asks:
                _print([arguments.prompt] if is_one else _lines(), engine, tokenizer, wish, arguments.json)
            for prompt in _asked() if asks else ():
                try:
                    _print([prompt], engine, tokenizer, wish, arguments.json)
                except UserError as error:
                    print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print()
        raise SystemExit(130) from None


def _wish(arguments: argparse.Namespace) -> "Wish":
    from gptcore.generation.complete import Wish

    sampling = Sampling.of(
        logit_bias=dict(map(_bias, arguments.logit_bias)), **{name: getattr(arguments, name) for name in NUMBERS}
    )
    for option, value, least in (("--max-new-tokens", arguments.max_new_tokens, 0), ("-n", arguments.n, 1),
                                 ("--logprobs", arguments.logprobs or 0, 0)):  # fmt: skip
        if value < least:
            raise UserError(f"{option} {value} is not at least {least}")
    if arguments.logprobs is not None and not arguments.json:
        raise UserError("--logprobs needs --json")
    if arguments.echo and arguments.logprobs is None:
        raise UserError("--echo needs --logprobs; the prompt itself is always there")
    if arguments.chat and (arguments.json or arguments.n > 1 or arguments.slide):
        raise UserError("--chat goes without --json, -n and --slide: it is one conversation")
    stop = [re.sub(r"\\[ntr\\]", lambda found: ESCAPES[found[0]], each) for each in arguments.stop]
    return Wish(
        arguments.max_new_tokens, sampling, arguments.n, stop, arguments.logprobs, arguments.echo, arguments.slide,
        arguments.stop_id,
    )  # fmt: skip


def _print(prompts: Iterable[str], engine: "Engine", tokenizer: "Tokenizer", wish: "Wish", as_json: bool) -> None:
    """Print texts in the order of their prompts; on a terminal, the one whose turn it is as it comes."""
    import json

    from gptcore.generation.complete import Completion, completions, described

    streams = sys.stdout.isatty() and not as_json
    turn, shown, coming = 0, "", dict[int, Completion]()
    full, broken = False, 0
    for found, _ in completions(engine, tokenizer, prompts, wish):
        coming[found.number] = found
        while current := coming.get(turn):
            whole = current.prompt + current.text
            if streams:
                print(whole[len(shown) :], end="", flush=True)
                shown = whole
            if not current.finish:
                break
            if as_json:
                print(json.dumps(described(current), ensure_ascii=False), flush=True)
            else:
                print("" if streams else whole, flush=True)
            full, broken = full or current.sequence.full, broken + (current.finish == "error")
            del coming[turn]
            turn, shown = turn + 1, ""
    if full:
        print(f"the context of {engine.block_size:,} tokens is full; --slide goes on", file=sys.stderr)
    if broken:
        raise UserError(f"{broken:,} of {turn:,} texts broke off: the model computes NaN or infinity")


def _talk(said: Iterable[str], engine: "Engine", tokenizer: "Tokenizer", wish: "Wish", goes_on: bool) -> None:
    """Print the answer to each message. `goes_on` after one that the model cannot answer."""
    from gptcore.generation.chat import Chat

    chat, forgotten = Chat(engine, tokenizer, wish), 0
    for each in said:
        try:
            for piece in chat.answer(each):
                print(piece, end="", flush=True)
            print(flush=True)
        except UserError as error:
            if not goes_on or not tokenizer.chat_template:
                raise
            print(f"error: {error}", file=sys.stderr)
        if chat.forgotten > forgotten:
            forgotten = chat.forgotten
            print(f"the context is full: the first {forgotten:,} messages are forgotten", file=sys.stderr)


def _asked() -> Iterator[str]:
    import readline  # noqa: F401  gives input() a history

    while True:
        try:
            yield input("> ")
        except EOFError:
            print()
            return


def _lines() -> Iterator[str]:
    """Raises UserError for a line that is not UTF-8."""
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield line.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise UserError(f"line {number} of standard input is not UTF-8, from byte {error.start + 1} on") from None


def _bias(given: str) -> tuple[int, float]:
    token, _, bias = given.partition("=")
    try:
        return int(token), float(bias)
    except ValueError:
        raise UserError(f"--logit-bias {given}: write an id, = and a number, such as 50256=-100") from None
