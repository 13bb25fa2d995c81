"""Run both sides of a benchmark alternately (A B A B), each in its own process; print medians, and a ratio at the end.

The processes are separate so that one side's allocator and thread pool settings cannot affect the other. All have the
environment of the command. A side is named with its precision, `nanogpt float32`, so that every line and file says it.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from figures import RESULTS, processor_name
from load import Others, refuse_above, require_free

from gptcore.training.hardware import multiplies_bfloat16

THREADS = ("OMP_", "GOMP_", "KMP_", "MKL_", "ATEN_", "MALLOC_", "THP_", "LD_PRELOAD")  # variables that change speed
Measured = dict[str, float]
Medians = dict[str, dict[str, Measured]]  # setting -> side -> figures


class Contest:
    """`measure(side, setting, nanogpt)` runs in a child and returns figures; `Contest(...).run()` is the parent.

    `names` are the sides without precision. Each runs in every precision of the processor, with `fastest` only in its
    fastest, and with --precision in that one.
    """

    def __init__(
        self, script: str, description: str, measure: Callable[[str, str, Path | None], Measured],
        names: list[str], settings: list[str], flags: dict[str, str | tuple[int, str]] | None = None,
        fastest: bool = False,
    ) -> None:  # fmt: skip
        self.script, self.measure = Path(script), measure
        self.environment = dict(os.environ)  # gptcore.stages changes this process's
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument(
            "--nanogpt", type=Path, help="a checkout of nanoGPT; without it our faithful mode stands in"
        )
        parser.add_argument("--settings", nargs="+", default=settings, choices=settings)
        parser.add_argument("--sides", nargs="+", default=names, choices=names, help="leave out the others")
        parser.add_argument("--repeats", type=int, default=2, help="runs of each side (default 2)")
        parser.add_argument(
            "--precision", choices=["float32", "bfloat16"], help="of both sides, instead of the default"
        )
        parser.add_argument("--under-load", action="store_true", help="measure on a busy machine all the same")
        parser.add_argument("--save", action="store_true", help="keep the figures in benchmarks/results/")
        parser.add_argument("--child", nargs=2, metavar=("SIDE", "SETTING"), help=argparse.SUPPRESS)
        for flag, meaning in (flags or {}).items():
            if isinstance(meaning, str):
                parser.add_argument(flag, action="store_true", help=meaning)
            else:
                parser.add_argument(flag, type=int, default=meaning[0], metavar="N", help=meaning[1])
        self.arguments = parser.parse_args()
        folder = self.arguments.nanogpt
        if folder and not (folder / "model.py").is_file():
            parser.error(f"--nanogpt {folder}: there is no model.py; name a checkout of nanoGPT")
        chosen = [self.arguments.precision] if self.arguments.precision else precisions()[-fastest:]
        self.sides = [f"{name} {precision}" for precision in chosen for name in self.arguments.sides]
        self.busiest = 0.0  # the largest share of the cores that others used

    def run(self, report: Callable[[Medians], list[str]]) -> None:
        """Measure, print each run, then print `report`'s lines for {setting: {side: medians}}: ratios last."""
        if self.arguments.child:
            side, setting = self.arguments.child
            print(json.dumps(self.measure(side, setting, self.arguments.nanogpt)))
            return
        self.busiest = require_free(self.arguments.under_load)
        print(json.dumps(self.where()), flush=True)
        medians = {setting: self._medians(setting) for setting in self.arguments.settings}
        lines = report(medians)
        if self.arguments.save:
            RESULTS.mkdir(exist_ok=True)
            result = {**self.where(), "medians": medians, "report": lines}
            path = RESULTS / f"{self.script.stem}-{date.today().isoformat()}.json"
            path.write_text(json.dumps(result, indent=2) + "\n")
        print("\n".join(lines))
        print(f"on {processor()}; {self._load()}")

    def _medians(self, setting: str) -> dict[str, Measured]:
        runs: dict[str, list[Measured]] = {side: [] for side in self.sides}
        for _ in range(self.arguments.repeats):
            for side in self.sides:
                runs[side].append(self.child(side, setting))
                figures = "  ".join(f"{name} {value:,.4g}" for name, value in runs[side][-1].items())
                print(f"{setting:16} {side:18} {figures}", flush=True)
        return {
            side: {name: statistics.median(run[name] for run in all_) for name in all_[0]}
            for side, all_ in runs.items()
        }

    def child(self, side: str, setting: str) -> Measured:
        """Measure one side in its own process and return its figures. Exits if others kept the machine busy."""
        command = [sys.executable, str(self.script), "--child", side, setting]
        if self.arguments.nanogpt:
            command += ["--nanogpt", str(self.arguments.nanogpt)]
        others = Others()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=self.environment)
        if done.returncode:
            raise SystemExit(f"{side} failed at {setting}; its message is above")
        self.busiest = max(self.busiest, others.share())
        refuse_above(self.busiest, self.arguments.under_load)
        measured: Measured = json.loads(done.stdout.splitlines()[-1])
        return measured

    def where(self) -> dict[str, Any]:
        """What a figure depends on: the command, the sides' code, machine, versions, environment and load."""
        arguments = ["PATH" if each == str(self.arguments.nanogpt) else each for each in sys.argv[1:]]
        return {
            "command": " ".join(["python", f"benchmarks/{self.script.name}", *arguments]),
            "nanogpt": "its own code" if self.arguments.nanogpt else "our faithful mode stands in",
            "machine": f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "environment": {name: value for name, value in self.environment.items() if name.startswith(THREADS)},
            "load": self._load(),
        }

    def _load(self) -> str:
        flag = ", measured with --under-load" if self.arguments.under_load else ""
        return f"other programs used at most {self.busiest:.0%} of the cores{flag}"


def comparisons(measured: dict[str, Measured], figure: str, best: Callable[..., str]) -> list[str]:
    """Lines that compare gptcore with nanogpt by `figure`: both at the same precision, then each side at its best.

    `best` is `min` or `max`.
    """
    values = {side: figures[figure] for side, figures in measured.items()}
    theirs, ours = ([side for side in values if side.split()[0] == name] for name in ("nanogpt", "gptcore"))
    pairs = [(*pair, "the same precision") for pair in zip(theirs, ours, strict=True)]
    if len(pairs) > 1:
        pairs.append((best(theirs, key=values.__getitem__), best(ours, key=values.__getitem__), "each side's best"))
    return [
        f"{one} {values[one]:,.4g}, {other} {values[other]:,.4g}, ratio {values[other] / values[one]:.2f} ({how})"
        for one, other, how in pairs
    ]


def precisions() -> list[str]:
    """The precisions in which this machine multiplies in hardware; the last is the fastest."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return ["float32", "bfloat16"] if multiplies_bfloat16(device) else ["float32"]


def processor() -> str:
    """The processor's name and whether it multiplies bfloat16."""
    name = processor_name()
    kinds = {"AMX": torch.cpu._is_amx_tile_supported(), "AVX512-BF16": torch.cpu._is_avx512_bf16_supported()}
    with_ = ", ".join(kind for kind, there in kinds.items() if there)
    return f"{name} (bfloat16 by {with_})" if with_ else f"{name} (no bfloat16)"
