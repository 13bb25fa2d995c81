"""Run both sides of a benchmark alternately (A B A B), each in its own process; print medians, and a ratio at the end.

The processes are separate so that one side's allocator and thread pool settings cannot affect the other.
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

RESULTS = Path(__file__).with_name("results")
Measured = dict[str, float]


class Contest:
    """`measure(side, setting, nanogpt)` runs in a child and returns figures; `Contest(...).run()` is the parent."""

    def __init__(
        self, script: str, description: str, measure: Callable[[str, str, Path | None], Measured],
        sides: list[str], settings: list[str], flags: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.script, self.measure, self.sides = Path(script), measure, sides
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument(
            "--nanogpt", type=Path, help="a checkout of nanoGPT; without it our faithful mode stands in"
        )
        parser.add_argument("--settings", nargs="+", default=settings, choices=settings)
        parser.add_argument("--repeats", type=int, default=2, help="runs of each side (default 2)")
        parser.add_argument("--save", action="store_true", help="keep the figures in benchmarks/results/")
        parser.add_argument("--child", nargs=2, metavar=("SIDE", "SETTING"), help=argparse.SUPPRESS)
        for flag, meaning in (flags or {}).items():
            parser.add_argument(flag, action="store_true", help=meaning)
        self.arguments = parser.parse_args()
        folder = self.arguments.nanogpt
        if folder and not (folder / "model.py").is_file():
            parser.error(f"--nanogpt {folder}: there is no model.py; name a checkout of nanoGPT")

    def run(self, report: Callable[[dict[str, dict[str, Measured]]], list[str]]) -> None:
        """Measure, print each run, then print `report`'s lines for {setting: {side: medians}}: ratios last."""
        if self.arguments.child:
            side, setting = self.arguments.child
            print(json.dumps(self.measure(side, setting, self.arguments.nanogpt)))
            return
        print(json.dumps(self._where()), flush=True)
        medians = {setting: self._medians(setting) for setting in self.arguments.settings}
        lines = report(medians)
        if self.arguments.save:
            RESULTS.mkdir(exist_ok=True)
            result = {**self._where(), "medians": medians, "report": lines}
            path = RESULTS / f"{self.script.stem}-{date.today().isoformat()}.json"
            path.write_text(json.dumps(result, indent=2) + "\n")
        print("\n".join(lines))

    def _medians(self, setting: str) -> dict[str, Measured]:
        runs: dict[str, list[Measured]] = {side: [] for side in self.sides}
        for _ in range(self.arguments.repeats):
            for side in self.sides:
                runs[side].append(self.child(side, setting))
                figures = "  ".join(f"{name} {value:,.4g}" for name, value in runs[side][-1].items())
                print(f"{setting:16} {side:8} {figures}", flush=True)
        return {
            side: {name: statistics.median(run[name] for run in all_) for name in all_[0]}
            for side, all_ in runs.items()
        }

    def child(self, side: str, setting: str) -> Measured:
        """Measure one side in its own process and return its figures."""
        command = [sys.executable, str(self.script), "--child", side, setting]
        if self.arguments.nanogpt:
            command += ["--nanogpt", str(self.arguments.nanogpt)]
        # gptcore.stages sets this for each of our runs; it must be set before torch is imported
        ours = {"GOMP_SPINCOUNT": "1000"} if side != "nanogpt" else {}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **ours})
        if done.returncode:
            raise SystemExit(f"{side} failed at {setting}; its message is above")
        measured: Measured = json.loads(done.stdout.splitlines()[-1])
        return measured

    def _where(self) -> dict[str, Any]:
        arguments = ["PATH" if each == str(self.arguments.nanogpt) else each for each in sys.argv[1:]]
        return {
            "command": " ".join(["python", f"benchmarks/{self.script.name}", *arguments]),
            "nanogpt": "its own code" if self.arguments.nanogpt else "our faithful mode stands in",
            "machine": f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    kinds = {"AMX": torch.cpu._is_amx_tile_supported(), "AVX512-BF16": torch.cpu._is_avx512_bf16_supported()}
    return f"{name} ({', '.join(kind for kind, there in kinds.items() if there) or 'no bfloat16 products'})"
