"""Time training steps, trace a few, and list the most expensive operations.

Reads params.yaml and data/tokens in the current folder. The trace opens in chrome://tracing or ui.perfetto.dev.
"""

import argparse
from pathlib import Path

from gptcore.config.paths import Paths
from gptcore.errors import UserError

LISTED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="timed steps; %(default)s if not given")
    parser.add_argument("--trace", type=Path, default=Path("data/scratch/profile.json"), help="written: %(default)s")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from gptcore.training.profile import profile_steps

    if arguments.steps < 1:
        raise UserError(f"--steps {arguments.steps} is not at least 1")
    found = profile_steps(Paths(Path.cwd()), arguments.steps, arguments.trace)
    print(f"step     {found.step_seconds * 1e3:,.1f} ms, {found.tokens_per_second:,.0f} tokens/s")
    share = found.flops_per_second / found.matmul_flops_per_second
    print(
        f"speed    {found.flops_per_second / 1e9:,.0f} GFLOP/s of the model's own arithmetic: {share:.0%} of the "
        f"{found.matmul_flops_per_second / 1e9:,.0f} that a large matrix product reaches here"
    )
    if found.peak_flops_per_second:
        print(f"MFU      {found.flops_per_second / found.peak_flops_per_second:.1%} of the maker's figure")
    print(f"memory   {found.peak_bytes / (1 << 20):,.0f} MiB at the most")
    print(f"\n{'ms a step':>10} {'share':>6}  part, traced")
    for part in found.parts:
        print(f"{part.seconds_per_step * 1e3:>10.2f} {part.share:>6.1%}  {part.name}")
    print(f"\n{'ms a step':>10} {'share':>6} {'calls':>6}  operation")
    for each in found.operations[:LISTED]:
        print(f"{each.seconds_per_step * 1e3:>10.2f} {each.share:>6.1%} {each.calls_per_step:>6.0f}  {each.name}")
    print(f"\ntrace: {arguments.trace}")
