"""Text to token files with GPT-2's vocabulary: nanoGPT's way (tiktoken, one process) against the tokenize stage.

Both sides read the same documents and write the same ids, each in its own process, startup included. nanoGPT's side
follows its prepare.py: `encode_ordinary` of each document, then <|endoftext|>, without the overhead of `datasets`.
The texts come from this Python installation, each file once, so that remembered words help no more than in any corpus:
source code is its .py files, prose their docstrings and the documentation of packages.
Then the stage's peak memory on larger texts, for which the source code repeats: proportional set size, summed over all
its processes. All are written to a folder of your choice and removed.
"""

import argparse
import json
import random
import re
import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
from figures import parser, told

from gptcore import files

KINDS = ("prose", "code")
DOCSTRING = re.compile(r'"""(.{200,}?)"""', re.DOTALL)
DOCUMENTATION = (".rst", ".md", ".txt")
CONFIG = {
    "tokenizer": "gpt2", "vocab_size": 1024, "sample_bytes": 1, "sentencepiece_model": "", "sentencepiece_sha256": "",
    "val_fraction": 0.01, "test_fraction": 0.0, "val_split": "documents", "seed": 1337,
}  # fmt: skip


def main() -> None:
    known = parser(__doc__)
    known.add_argument("--raw", type=Path, default=Path("data/raw"), help="a folder with gpt2.tiktoken")
    known.add_argument("--folder", type=Path, default=Path("data/scratch/benchmark"), help="needs 5 times the text")
    known.add_argument("--megabytes", type=int, default=400, help="of each text for speed, if there is as much")
    known.add_argument("--memory", nargs="*", type=int, default=[2, 8], metavar="GB", help="texts for memory")
    known.add_argument("--repeats", type=int, default=3, help="runs of each side (default 3)")
    known.add_argument("--nanogpt-side", type=Path, help=argparse.SUPPRESS)
    arguments = known.parse_args()
    if arguments.nanogpt_side:
        nanogpt_side(arguments.nanogpt_side)
        return
    told(measured(arguments), arguments, "gigatoken", "tiktoken", "numpy")


def measured(arguments: argparse.Namespace) -> Iterator[str]:
    for kind in KINDS:
        yield from speed(kind, arguments)
    for gigabytes in arguments.memory:
        with workspace(arguments, "code", gigabytes * 1000, repeat=True) as (root, megabytes):
            seconds, peak_mb = stage_side(root)
        yield f"peak_mb {gigabytes}gb: {peak_mb:.0f} ({seconds:.0f} s, {megabytes / seconds:.1f} MB/s)"


def speed(kind: str, arguments: argparse.Namespace) -> Iterator[str]:
    """Run both sides alternately (A B A B) and report medians."""
    theirs, ours = [], []
    with workspace(arguments, kind, arguments.megabytes) as (root, megabytes):
        for _ in range(arguments.repeats):
            started = time.perf_counter()
            subprocess.run([sys.executable, __file__, "--nanogpt-side", root], check=True)
            theirs.append(time.perf_counter() - started)
            ours.append(stage_side(root)[0])
            print(f"{kind}: nanogpt {theirs[-1]:.2f} s  gptcore {ours[-1]:.2f} s", flush=True)
        same_tokens(root)
    for name, seconds in (("nanogpt", theirs), ("gptcore", ours)):
        median = statistics.median(seconds)
        yield f"{kind} {name}: {median:.2f} s, {megabytes / median:.1f} MB/s ({megabytes:.0f} MB of text)"
    yield f"{kind} ratio: {statistics.median(theirs) / statistics.median(ours):.2f}"


def nanogpt_side(root: Path) -> None:
    """As its data/openwebtext/prepare.py: encode each document, then concatenate all ids in one 16-bit array."""
    from gptcore.tokens.make_tokenizer import tiktoken_tokenizer

    encoding = tiktoken_tokenizer("gpt2", root / "data/raw/gpt2.tiktoken").encoding
    rows = []
    with (root / "data/raw/documents.jsonl").open(encoding="utf-8") as file:
        for line in file:
            ids = encoding.encode_ordinary(json.loads(line)["text"])
            ids.append(encoding.eot_token)
            rows.append(np.array(ids, dtype=np.uint16))
    np.concatenate(rows).tofile(root / "nanogpt.bin")


def stage_side(root: Path) -> tuple[float, float]:
    """Run the stage; return its seconds, and the peak MB of all its processes together."""
    shutil.rmtree(root / "data/tokens", ignore_errors=True)
    started, peak = time.perf_counter(), 0
    process = subprocess.Popen([sys.executable, "-m", "gptcore.stages.tokenize"], cwd=root, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        peak = max(peak, sum(map(proportional_bytes, [process.pid, *children(process.pid)])))
        time.sleep(0.25)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - started, peak / 1e6


def same_tokens(root: Path) -> None:
    """Check that both sides wrote the same ids, apart from our validation split and the position of <|endoftext|>."""
    theirs = np.sort(np.fromfile(root / "nanogpt.bin", np.uint16))
    ours = np.concatenate([np.fromfile(root / f"data/tokens/{split}.bin", np.uint16) for split in ("train", "val")])
    assert (np.sort(ours) == theirs).all()


@contextmanager
def workspace(
    arguments: argparse.Namespace, kind: str, megabytes: int, repeat: bool = False
) -> Iterator[tuple[Path, float]]:
    """A temporary folder with a text of at most that size, and its megabytes."""
    root = arguments.folder.absolute() / f"{kind}-{megabytes}mb"
    (root / "data/raw").mkdir(parents=True)
    shutil.copy(arguments.raw / "gpt2.tiktoken", root / "data/raw")
    (root / "params.yaml").write_text(json.dumps({"tokenize": CONFIG}))
    try:
        written = write_text(root / "data/raw/documents.jsonl", kind, megabytes * 1_000_000, repeat)
        files.write_text(root / "data/raw" / files.SUMS, files.sha256sums(root / "data/raw"))
        yield root, written / 1e6
    finally:
        shutil.rmtree(root)


def write_text(path: Path, kind: str, size: int, repeat: bool) -> int:
    """Write documents until there are `size` bytes of text or, without `repeat`, no more; return the bytes of text."""
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for _ in count() if repeat else range(1):
            for text in documents(kind):
                if written >= size:
                    return written
                written += len(text.encode())
                document = {"title": f"at {written}", "text": text}
                file.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    return written


def documents(kind: str) -> Iterator[str]:
    """Different texts, in a random order that is always the same."""
    roots = {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(np.__file__).parents[1])}
    paths = sorted({path for root in roots for path in Path(root).rglob("*") if path.is_file()})
    random.Random(0).shuffle(paths)
    seen: set[str] = set()
    for path in paths:
        is_code = path.suffix == ".py"
        if not is_code and (kind == "code" or (path.suffix not in DOCUMENTATION and path.name != "METADATA")):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for each in DOCSTRING.findall(text) if is_code and kind == "prose" else [text]:
            if each and each not in seen:
                seen.add(each)
                yield each


def children(process: int) -> list[int]:
    try:
        found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [each for child in map(int, found) for each in (child, *children(child))]


def proportional_bytes(process: int) -> int:
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
