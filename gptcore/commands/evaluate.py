"""Ask a model the questions of benchmarks, and compare what it writes; numbers as of lm-eval, with intervals.

gptcore evaluate gpt@champion --tasks hellaswag,lambada,wikitext --data benchmarks
gptcore evaluate gpt2 --tasks questions.jsonl --output data/evaluated/gpt2 --log-samples
gptcore evaluate gpt@champion --continuations prompts.jsonl --max-new-tokens 64

MODEL is a model folder, a folder of Hugging Face's form, a ckpt.pt, gpt2, another name on the hub (owner/name), or a
version of the registry: gpt@champion, gpt/3. The rows of a FILE.jsonl have the fields of one of the known tasks, or
query, choices and gold; those of --continuations have prompt and references, a list of texts.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--tasks", default="", help="hellaswag, lambada, wikitext or FILE.jsonl; commas between")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="holds hellaswag.jsonl and so on; else: the hub")
    parser.add_argument("--limit", type=int, metavar="N", help="ask only the first N rows of each task")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="a new folder for results.json, as lm-eval's")
    parser.add_argument("--log-samples", action="store_true", help="write each question with its answers there too")
    parser.add_argument(
        "--continuations", type=Path, metavar="FILE", help="prompts that the model goes on from, greedily"
    )
    parser.add_argument("--max-new-tokens", type=int, default=64, metavar="N", help="of a continuation (default 64)")
    parser.add_argument("--training-tokens", type=Path, metavar="FOLDER", help="such as data/tokens: what is a copy?")
    parser.add_argument("--tokenizer", type=Path, help="the tokenizer.json of a ckpt.pt; else GPT-2's")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError, Unavailable."""
    import gptcore.stages  # noqa: F401  before torch: where others compute, its threads do not spin
    from gptcore.config.settings import settings
    from gptcore.errors import UserError
    from gptcore.evaluation import continuations
    from gptcore.evaluation.benchmarks import results, suite
    from gptcore.generation.complete import Wish
    from gptcore.generation.sampling import Sampling
    from gptcore.generation.threads import suited_to
    from gptcore.tokens.token_files import open_tokens, verify_tokens
    from gptcore.tokens.tokenizer import Tokenizer
    from gptcore.weights.open_model import open_model

    if arguments.log_samples and not arguments.output:
        raise UserError("--log-samples writes into the folder of --output; name one")
    if arguments.output and arguments.output.exists():
        raise UserError(f"{arguments.output} is there already; name a new folder, or remove it")
    if arguments.limit is not None and arguments.limit < 1:
        raise UserError(f"--limit {arguments.limit}: take 1 or more")
    benchmarks: dict[str, suite.Benchmark] = {}
    for given in filter(None, arguments.tasks.split(",")):
        found = suite.open_benchmark(given, arguments.data, arguments.limit)
        if found.name in benchmarks:
            raise UserError(f"two tasks are named {found.name}; leave one out, or rename its file")
        benchmarks[found.name] = found
    rows = continuations.read_prompts(arguments.continuations)[: arguments.limit] if arguments.continuations else []
    if arguments.training_tokens:
        verify_tokens(arguments.training_tokens)
    if not (benchmarks or rows):
        raise UserError("nothing is asked; name --tasks or --continuations")
    model, tokenizer = open_model(arguments.model, arguments.tokenizer)
    model.to(settings().torch_device())
    runs = {name: (each, suite.run(model, tokenizer, each)) for name, each in benchmarks.items()}
    answered = results.results(runs, {"model": arguments.model, "parameters": model.parameter_count()})
    lines = results.table(answered, runs) if runs else []
    continued = []
    if rows:
        wish = Wish(arguments.max_new_tokens, Sampling(temperature=0))
        with suited_to(model):
            written = continuations.write(model, tokenizer, rows, wish)
        measured = continuations.measure(written)
        if folder := arguments.training_tokens:
            theirs = Tokenizer.load(folder / "tokenizer.json")
            measured["longest_copy"] = continuations.copied(written, theirs, open_tokens(folder, "train"))
        answered["results"]["continuations"] = measured
        continued = [{**each.row.model_dump(), "text": each.text, "ungraded": each.why} for each in written]
        lines += continuations.table(measured)
    if arguments.output:
        results.write(arguments.output, answered, runs, continued, arguments.log_samples)
    print("\n".join(lines))
