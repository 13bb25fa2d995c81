"""Miniatures of the stages, for the tests of tasks/ and flows/: same files, same exit codes, no torch.

`python stages.py train`. The file `trouble-train`, not a dependency, names a fault that happens once; `steps-train`
logs the steps actually taken. Both stay in the checkout, even for runs in a clone of it.
"""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ruamel.yaml import YAML

from gptcore.errors import MISTAKE_EXIT_CODE, STOPPED_EXIT_CODE
from gptcore.files import SUMS, sha256sums

PUSH = """
import time
from dvc.repo import Repo, lock_repo
with lock_repo(Repo()):
    print("a long push has DVC's lock", flush=True)
    time.sleep(5)
"""
HERE = Path(__file__).parent
SCRATCH = HERE / "data" / "scratch" / "train"
CHECKOUT = SCRATCH.resolve().parents[2]  # clones link to its scratch folders
FOLDERS = {"download": "raw", "start": "start", "tokenize": "tokens", "train": "model", "baseline": "baseline",
           "evaluate": "evaluation"}  # fmt: skip


def main(stage: str) -> None:
    params = YAML(typ="safe").load((HERE / "params.yaml").read_text())
    folder = HERE / "data" / FOLDERS[stage]
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{stage} begins", flush=True)
    metrics = globals()[stage](params, folder)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    print(f"{stage} 100% |####| step 1/1", flush=True)


def download(params: dict, folder: Path) -> dict:
    (folder / "documents.jsonl").write_text("To be\n")
    return {"documents": 1}


def start(params: dict, folder: Path) -> dict:
    """Nothing, or the hash of a text that must not be forgotten."""
    for each, holds in (("model", params["train"]["start"]), ("retained", params["retained"]["text_sha256"])):
        (folder / each).mkdir(exist_ok=True)
        (folder / each / "none.txt").write_text(holds)
    return {"documents": 0}


def tokenize(params: dict, folder: Path) -> dict:
    text = hashlib.sha256(params["tokenize"]["tokenizer"].encode()).hexdigest()  # as if it were the text
    (folder / "meta.json").write_text(json.dumps({"val": {"text_sha256": text}}))
    return {"tokens": 5}


def train(params: dict, folder: Path) -> dict:
    """Resume from a step count in a scratch file. The weights are the bits per byte, which improve with steps."""
    if params["train"]["steps"] == 13:
        print("error: train: 13 steps bring bad luck; take 14", file=sys.stderr)
        raise SystemExit(MISTAKE_EXIT_CODE)
    place = f"{os.environ.get('GPTCORE_CHECKPOINTS') or SCRATCH}/{params['train']['steps']}"
    files, checkpoint = storage(f"{place}/step")
    files.makedirs(place, exist_ok=True)
    signal.signal(signal.SIGINT, lambda *_: (print("train: stopped", flush=True), sys.exit(STOPPED_EXIT_CODE)))
    first = int(files.cat_file(checkpoint)) if files.exists(checkpoint) else 0
    for step in range(first + 1, params["train"]["steps"] + 1):
        files.pipe_file(checkpoint, str(step).encode())
        with (CHECKOUT / "steps-train").open("a") as log:
            log.write(f"{step}\n")
        happen(step)
    if "GPTCORE_FINISHED_STATES" in os.environ:
        Path(os.environ["GPTCORE_FINISHED_STATES"]).write_text(place)
    else:
        files.rm(checkpoint)
    model(folder, 2 + 1 / params["train"]["steps"], params["model"])
    return {"val_loss": 1.5, "steps": params["train"]["steps"], "trained_parameters": 90}


class Local:
    """What `train` uses of fsspec, whose import takes as long as the rest of a stage."""

    makedirs, exists, rm = map(staticmethod, (os.makedirs, os.path.exists, os.remove))

    @staticmethod
    def cat_file(path: str) -> bytes:
        return Path(path).read_bytes()

    @staticmethod
    def pipe_file(path: str, content: bytes) -> None:
        Path(path).write_bytes(content)


def storage(address: str) -> tuple:
    if "://" not in address:
        return Local, address
    from fsspec.core import url_to_fs

    return url_to_fs(address)


def happen(step: int) -> None:
    """Inject the fault that the test requests: `kill 3`, `edit 2`, `wait 2` (until the file is gone), each once."""
    path = CHECKOUT / "trouble-train"
    if not path.exists():
        return
    what, at = path.read_text().split()
    if step != int(at):
        return
    give_up = time.monotonic() + 240  # of a test that was killed
    if what == "wait":
        print(f"train  50% |##  | step {step}/{2 * step}  loss 3.211  val 3.402  1,000 tokens/s  0:09 left", flush=True)
    while what == "wait" and path.exists() and time.monotonic() < give_up:
        time.sleep(0.05)
    path.unlink(missing_ok=True)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "push":
        command = [sys.executable, "-c", PUSH]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        holder.stdout.readline()
    if what == "edit":
        (HERE / "code.py").write_text("edited = True\n")


def baseline(params: dict, folder: Path) -> dict:
    model(folder, 2.1, params["baseline"]["model"])
    return {"val_loss": 1.5}


def model(folder: Path, bits_per_byte: float, config: dict) -> None:
    for each in ("export", "best"):
        (folder / each).mkdir(parents=True, exist_ok=True)
        (folder / each / "model.safetensors").write_text(str(bits_per_byte))
        (folder / each / "tokenizer.json").write_text('{"kind": "byte"}')
        (folder / each / "config.json").write_text(json.dumps({"vocab_size": 256, **config}))
        (folder / each / SUMS).write_text(sha256sums(folder / each))
    (folder / "curve.csv").write_text("step,tokens,val_loss\n1,10,2.0\n2,20,1.5\n")
    (folder / "timing.csv").write_text("step,seconds,hardware\n1,0.5,abacus\n2,1.0,abacus\n")
    if folder.name == "model":
        (folder / "samples.md").write_text("## Step 2\n\n```text\nROMEO: to be\n```\n")


def evaluate(params: dict, folder: Path) -> dict:
    exports = (HERE / "data" / each / "export" / "model.safetensors" for each in ("model", "baseline"))
    ours, theirs = (float(each.read_text()) for each in exports)
    common = {"perplexity": 4.5, "parameters": 100, "tokens": 20, "seconds": 1.0, "tokens_per_second": 20.0}
    losses = {name: {"loss": bits / 2, "loss_standard_error": 0.01, "bits_per_byte": bits, **common}
              for name, bits in (("model", ours), ("baseline", theirs))}  # fmt: skip
    for name in ("loss.png", "position.png"):
        (folder / name).write_bytes(b"png")
    (folder / "position.csv").write_text("tokens_before,tokens,model_loss,baseline_loss\n1,3,4.0,4.5\n2,3,3.5,4.2\n")
    found = (1, 0.5, 2.0) if ours <= theirs else (None, None, None)
    reached = dict(zip(("steps", "seconds", "speedup"), found, strict=True))
    text = {"tokens": 5, "bytes": 6, "documents": 4}
    bits = {"standard_error": 0.01, "low": ours - theirs - 0.03, "high": ours - theirs + 0.03}
    difference = {"loss_standard_error": 0.01}
    intervals = {"difference": dict.fromkeys(("loss", "perplexity", "bits_per_byte"), bits), "windows_per_block": None}
    (folder / "intervals.json").write_text(json.dumps(intervals))
    meta = json.loads((HERE / "data/tokens/meta.json").read_text())
    (folder / "measured.json").write_text(json.dumps(measured(meta["val"]["text_sha256"], ours, theirs)))
    retained = (HERE / "data/start/retained/none.txt").read_text()
    old = measured(retained, ours, 2.0) if retained else None
    (folder / "retained.json").write_text(json.dumps(old))
    tasks = [{"task": each["task"], "sha256": each["sha256"], "metrics": {"acc": graded(ours, theirs)}}
             for each in params["evaluate"]["tasks"]]  # fmt: skip
    (folder / "tasks.json").write_text(json.dumps(tasks))
    fair = {"baseline_loss_reached": reached, "at_equal_time": {"seconds": 1.0, "model": 1.5, "baseline": 1.5}}
    return {**losses, "difference": difference, **fair, "validation": text, "retained": None, "tasks": {}}


def graded(ours: float, theirs: float) -> dict:
    """Of 40 items, who is better than the baseline knows all, the others a quarter."""
    grades = [[1.0] * 40 if bits < 2.1 else [1.0] * 10 + [0.0] * 30 for bits in (ours, theirs)]
    return {"weights": [1] * 40, "model": grades[0], "baseline": grades[1]}


def measured(text_sha256: str, ours: float, theirs: float) -> dict:
    """Four documents of ten bytes, on which both models are equally good."""
    scored = [{"losses": [10 * math.log(2) * bits] * 4, "tokens": [5] * 4, "whole_losses": 40 * math.log(2) * bits,
               "whole_tokens": 20} for bits in (ours, theirs)]  # fmt: skip
    return {"text_sha256": text_sha256, "by": "documents", "windows_per_part": 1, "freedom": 3, "bytes": [10] * 4,
            "whole_bytes": 40, "model": scored[0], "baseline": scored[1]}  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
