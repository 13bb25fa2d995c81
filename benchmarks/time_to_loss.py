"""Training seconds until our model reaches nanoGPT's final validation loss, and our loss after nanoGPT's full time.

nanoGPT's CPU recipe on characters: 4 layers, 4 heads, 128 wide, block 64, batch 12, 2,000 steps. Both sides train on
the first 90 % of the text and are evaluated on the same windows of the rest; evaluation time does not count. nanoGPT
is in float32, all that it knows on a CPU, and ours in the processor's fastest precision; --precision sets both.

With --sweep also to the loss that nanoGPT reaches at its best learning rate: by the short run's recipe and by our
default one, each in the shortest run of LENGTHS that ends at or under that loss. A schedule decays to the end of its
run, so a run cannot be cut short, and each length is one of its own.
"""

import statistics
import time
from pathlib import Path

import numpy as np
from contest import Contest, Measured, Medians, precisions
from sides import ROOT, Setting, Side, Tokens, gptcore_side, nanogpt_side, timed, validation_loss

from gptcore.config.params import validate_section
from gptcore.config.paths import Paths
from gptcore.config.presets import compose
from gptcore.corpus.corpus import Corpus, DataConfig
from gptcore.corpus.documents import read_documents

STEPS = 2000
WINDOWS = 2048  # a quarter of the validation text
HEADS = ["model.n_head=2"]  # ours: heads of 64
# Tuned on the last tenth of the training text. A run this short needs high learning rates and a short warm-up.
SPRINT = [*HEADS, "model.rope_base=1000", "optim.warmup_steps=5", "optim.cooldown_fraction=0.8",
          "optim.muon_momentum=0.85", "optim.muon_momentum_warmup_steps=100", "optim.matrix_learning_rate=0.04",
          "optim.embedding_learning_rate=0.1", "optim.head_learning_rate=0.008",
          "optim.adam_betas=[0.7,0.95]"]  # fmt: skip
SPRINT_STEPS, SPRINT_BATCH = 140, 16
MARATHON = [*HEADS, "optim.embedding_learning_rate=0.15"]
MARATHON_BATCH = 24
DEFAULT_BATCH = 32  # the 2,048 tokens of params.yaml
RECIPES: dict[str, tuple[int, list[str]]] = {  # sequences in a batch, overrides
    "sprint": (SPRINT_BATCH, SPRINT), "marathon": (MARATHON_BATCH, MARATHON), "default": (DEFAULT_BATCH, []),
}  # fmt: skip
PUBLISHED_RATE = 1e-3
SWEEP = (2e-3, 4e-3, 8e-3)
LENGTHS = {"sprint": (240, 250, 260, 275, 300, 325, 400), "default": (175, 200, 225, 250, 300, 400)}  # steps


def measure(side: str, setting: str, nanogpt_folder: Path | None) -> Measured:
    """`setting` is `sprint` or a learning rate for nanoGPT; `pace`, or a recipe and a number of steps for us."""
    name, precision = side.split()
    tokens, vocab_size = characters()
    split = int(len(tokens) * 0.9)
    train, val = tokens[:split], tokens[split:]
    if name == "nanogpt":
        rate = PUBLISHED_RATE if setting == "sprint" else float(setting)
        contestant = nanogpt_side(nanogpt_folder, _size(12, vocab_size), train, STEPS, precision, rate)
        return _trained(contestant, STEPS, val)
    if setting == "pace":
        runner = gptcore_side("modern", _size(MARATHON_BATCH, vocab_size), train, 1000, precision, MARATHON)
        timed(runner, 20)
        return {"step_seconds": statistics.mean(timed(runner, 100))}
    recipe, _, length = setting.partition(" ")
    steps = int(length or SPRINT_STEPS)
    batch, overrides = RECIPES[recipe]
    return _trained(gptcore_side("modern", _size(batch, vocab_size), train, steps, precision, overrides), steps, val)


def characters() -> tuple[Tokens, int]:
    """The default corpus as one id per character, its documents concatenated."""
    paths = Paths(ROOT)
    documents = paths.raw / "documents.jsonl"
    if not documents.exists():
        values = compose(["data=shakespeare"], paths.params)
        corpus = Corpus(validate_section(values, "data", DataConfig), ROOT, paths.scratch / "download")
        texts = [each.text for each in corpus.documents()]
    else:
        texts = [each.text for each in read_documents(documents)]
    text = np.array(list("\n".join(texts)))
    alphabet, ids = np.unique(text, return_inverse=True)
    return ids.astype(np.uint16), len(alphabet)


def _size(batch_size: int, vocab_size: int) -> Setting:
    return Setting(n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=batch_size, vocab_size=vocab_size)


def _trained(side: Side, steps: int, val: Tokens) -> Measured:
    started = time.perf_counter()
    for _ in range(steps):
        side.step()
    seconds = time.perf_counter() - started
    return {"val_loss": validation_loss(side, val, 64, WINDOWS), "seconds": seconds, "steps": steps}


def report(medians: Medians) -> list[str]:
    (rival, nanogpt), (own, sprint) = medians["sprint"].items()
    ratio = nanogpt["seconds"] / sprint["seconds"] if sprint["val_loss"] <= nanogpt["val_loss"] else 0.0
    pace = contest.child(own, "pace")
    marathon = contest.child(own, f"marathon {int(0.97 * nanogpt['seconds'] / pace['step_seconds'])}")
    lines = [
        _line(f"{rival}, its published recipe", nanogpt),
        _line(f"{own}, as soon as it is there", sprint),
        _line(f"{own}, in the same time", marathon),
    ]
    if contest.arguments.sweep:
        sweep = {rate: contest.child(rival, str(rate)) for rate in SWEEP}
        lines += [_line(f"{rival} at a learning rate of {rate}", each) for rate, each in sweep.items()]
        lines += _to(min([nanogpt, *sweep.values()], key=lambda each: each["val_loss"]), own)
    if not ratio:
        lines.append("the short run ended above nanoGPT's loss: no ratio")
    difference = marathon["val_loss"] - nanogpt["val_loss"]
    return [*lines, f"loss difference in the same time: {difference:.3f}", f"ratio: {ratio:.2f}"]


def _to(goal: Measured, own: str) -> list[str]:
    """How soon each recipe reaches the loss of `goal`, nanoGPT at its best rate."""
    lines = []
    for recipe, lengths in LENGTHS.items():
        for steps in lengths:
            run = contest.child(own, f"{recipe} {steps}")
            if run["val_loss"] <= goal["val_loss"]:
                lines.append(_line(f"{own}, {recipe} recipe, to nanoGPT's best-rate loss", run))
                lines.append(f"ratio to the best-rate loss, {recipe} recipe: {goal['seconds'] / run['seconds']:.2f}")
                break
        else:
            lines.append(f"{own}, {recipe} recipe: {lengths[-1]} steps end above nanoGPT's best-rate loss")
    return lines


def _line(name: str, measured: Measured) -> str:
    return (
        f"{name:44} val_loss {measured['val_loss']:.4f}  {measured['seconds']:6.1f} s  {measured['steps']:,.0f} steps"
    )


if __name__ == "__main__":
    contest = Contest(
        __file__, __doc__ or "", measure, ["nanogpt", "gptcore"], ["sprint"],
        {"--sweep": "also nanoGPT's side at other learning rates"},
    )  # fmt: skip
    if not contest.arguments.precision:
        contest.sides = ["nanogpt float32", f"gptcore {precisions()[-1]}"]
    contest.run(report)
