# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour of gptcore
#
# Data, model, one training, its curves, its text, the registry and a fine-tune, in less than three minutes on two CPU
# cores and without a network. Everything happens in a clone of this checkout, `data/scratch/tour`; remove it and
# nothing is left.

# %%
import os
import random
import shutil
import subprocess
import sys
from math import log2
from pathlib import Path

root = Path(subprocess.check_output(["git", "rev-parse", "--show-toplevel"], text=True).strip())
tour = root / "data/scratch/tour"
shutil.rmtree(tour, ignore_errors=True)
subprocess.run(["git", "clone", "--quiet", root, tour], check=True)
os.chdir(tour)
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
os.environ["MLFLOW_TRACKING_URI"] = ""  # a registry of its own, in the clone
os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"  # without it, every line of every stage

# %% [markdown]
# ## Data
#
# The corpus is a language whose entropy we know. A sentence has four words that are drawn from eight each, so it has
# 12 bits, however long it is. No model can need less per byte than that.

# %%
adjectives = ["old", "young", "brave", "quiet", "proud", "merry", "weary", "gentle"]
nouns = ["king", "queen", "fool", "knight", "witch", "prince", "merchant", "shepherd"]
verbs = ["loves", "fears", "follows", "mocks", "pities", "forgives", "banishes", "praises"]


def sentence(draw: random.Random) -> str:
    return f"the {draw.choice(adjectives)} {draw.choice(nouns)} {draw.choice(verbs)} the {draw.choice(nouns)}.\n"


draw = random.Random(1)
stories = ["".join(sentence(draw) for _ in range(100)) for _ in range(60)]
Path("data/texts").mkdir()
for number, story in enumerate(stories):
    Path(f"data/texts/{number:02}.txt").write_text(story)
least = 6000 * 4 * log2(8) / sum(map(len, stories))
print(stories[0][:120])
print(f"no model needs less than {least:.3f} bits per byte")

# %% [markdown]
# `params.yaml` says what is made: every value in it changes the result. `gptcore configure` composes it from the
# presets in `conf/`; here a byte tokenizer and a small model.

# %% language="bash"
# set -o errexit
# gptcore configure data=own data.source=data/texts tokenizer=byte model.n_layer=2 model.n_embd=64 model.n_head=2 \
#     baseline.model.n_layer=2 baseline.model.n_embd=64 baseline.model.n_head=2 \
#     train.steps=100 train.samples=1 curve.points=10 curve.windows=32 | tail -n 4

# %% [markdown]
# ## One training
#
# The flow runs its stages: download, start (a model to go on from; here none), tokenize, train, the baseline (nanoGPT's
# recipe on the same tokens), evaluate.
# Then it registers the model, and makes it champion if it passes the gate. This is what `make train` does.

# %%
from IPython.display import Markdown

from flows.train_gpt import train_gpt

run = train_gpt.with_options(flow_run_name="tour")
report = run()
stages, verdict, comparison, _, _, outcome, *_ = report.split("\n\n")
Markdown("\n\n".join([stages, comparison, verdict, outcome]))

# %% [markdown]
# DVC remembers what each result was made from. Nothing has changed, so nothing runs again:

# %%
again = run()
assert again.count("| Cached | up to date |") == 6
Markdown(again.split("\n\n")[0])

# %% [markdown]
# ## Tokens
#
# What the stages have made is in `data/`, with hashes of everything.

# %% language="bash"
# set -o errexit
# gptcore data inspect | head -n 12

# %% [markdown]
# ## The model
#
# `gptcore/model/gpt.py` is the file to read. A model folder holds weights, configuration and tokenizer.

# %% tags=["varies"]
import torch

from gptcore.model.folder import load_export

model, tokenizer = load_export(Path("data/model/export"))
print(f"{sum(each.numel() for each in model.parameters()):,} parameters")
prompt = torch.tensor([tokenizer.encode("the brave queen ").tolist()])
with torch.no_grad():
    chances = model(prompt)[0, -1].softmax(-1)
for token in chances.topk(5).indices.tolist():
    print(f"{tokenizer.decode([token])}  {chances[token]:.2f}")
first = {verb[0] for verb in verbs}
assert sum(float(chances[tokenizer.encode(letter)[0]]) for letter in first) > 0.8

# %% [markdown]
# After an adjective and a noun comes a verb, and the model knows with which letters one begins.
#
# ## Curves
#
# `runs()` is a table of all experiments, `curves()` has their loss curves, both from DVC's cache.

# %%
from tasks.runs import curves, runs

table = runs()
model_curve, baseline_curve = (curves(["tour"], of=side) for side in ("model", "baseline"))
axes = model_curve.plot("tokens", "val_loss", label="model", figsize=(6, 3), ylabel="nats per byte")
baseline_curve.plot("tokens", "val_loss", label="baseline", ax=axes)
axes.axhline(least * 0.6931, color="grey", linestyle=":")
bits = table.loc["tour", "model.bits_per_byte"]
assert least < bits < table.loc["tour", "baseline.bits_per_byte"]

# %% [markdown]
# ## Text

# %% language="bash" tags=["varies"]
# set -o errexit
# gptcore sample "the " --max-new-tokens 120 --temperature 0.7 --seed 1

# %% [markdown]
# ## The registry
#
# MLflow keeps every version, with the verdict of the gate. `champion` is an alias; every move of it is written down.

# %% language="bash"
# set -o errexit
# gptcore registry history
# gptcore lineage champion | head -n 8

# %% [markdown]
# From Python, on any machine that reaches the registry, without this repository:

# %%
import mlflow

mlflow.set_tracking_uri("sqlite:///mlflow.db")
champion = mlflow.pyfunc.load_model("models:/gpt@champion")
(text,) = champion.predict(["the old king "], params={"n_tokens": 40, "temperature": 0.0})
assert any(text.startswith(f"the old king {verb}") for verb in verbs)
print(text)

# %% [markdown]
# ## Fine-tune
#
# The champion goes on with letters: the same words, with a greeting. Its baseline is now the model that it was before.
# What it has forgotten is measured too, on the stories.

# %%
letters = ["".join(f"dear {draw.choice(nouns)}, {sentence(draw)}" for _ in range(60)) for _ in range(10)]
Path("data/letters").mkdir()
for number, letter in enumerate(letters):
    Path(f"data/letters/{number}.txt").write_text(letter)
choices = (
    "experiment=finetune train.start=gpt@champion data=own data.source=data/letters "
    "train.steps=20 train.samples=1 curve.points=2 curve.windows=8"
)
subprocess.run(["gptcore", "configure", *choices.split()], check=True, capture_output=True)
report = train_gpt.with_options(flow_run_name="letters")(promotion=False)
_, verdict, comparison, on_the_stories, forgotten, *_ = report.split("\n\n")
assert "better than the baseline" in verdict
Markdown("\n\n".join([verdict, comparison, on_the_stories, forgotten]))

# %% [markdown]
# ## From here
#
# - `make train` does the same with Shakespeare, `make ui` shows runs and models in the browser.
# - `gptcore configure data.source=FOLDER` takes your own text: [data](data.md).
# - [All pages](index.md).
