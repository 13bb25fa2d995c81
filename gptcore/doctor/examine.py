"""All checks at once: programs and servers are waited for in threads while torch is imported."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gptcore.doctor import checkout, installed, machine, servers
from gptcore.doctor.finding import Finding


def examine(root: Path) -> list[Finding]:
    """The findings for the checkout `root`, in the order in which a newcomer would ask."""
    asked: list[Callable[[], Iterable[Finding]]] = [
        lambda: list(checkout.git(root)),
        lambda: [checkout.remote(root)],
        lambda: [servers.prefect()],
        lambda: [servers.mlflow(root)],
        lambda: [servers.serving()],
    ]
    with ThreadPoolExecutor(len(asked)) as pool:
        waiting = [pool.submit(each) for each in asked]
        findings = [machine.python(), *installed.against_the_lock(root), *machine.torch_and_devices()]
        findings += [machine.cores(), machine.memory(), machine.disk(root)]
        configured = checkout.params(root)
        git, *others = [each.result() for each in waiting]
    return [*findings, *git, configured, *(finding for found in others for finding in found)]
