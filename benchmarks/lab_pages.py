"""Seconds that each page of the lab takes with many experiments: the first time, and with what is known already.

The project is the tests' scratch project with the real dependencies on code; one run is real, the others are its copies
with other parameters and figures, as DVC experiments, Prefect flow runs and MLflow versions. A page is drawn in this
process, as the server of the lab does it: `cold` with nothing in memory, `asked` when Prefect and MLflow are asked
anew, as every three seconds, `warm` when they need not be, `new` when there is one more experiment. With Chromium, also
what a person waits for from a click to the whole page.
(A script named `lab` would shadow the package of that name.)
"""

import argparse
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import partial
from hashlib import md5
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import streamlit as st
from figures import parser, told
from mlflow.entities import Param
from ruamel.yaml import YAML
from streamlit.testing.v1 import AppTest

from gptcore.registry.pages import packed
from gptcore.registry.tracking import MODEL, opened_in
from lab.page import parts
from tasks.dvc.experiments import METRICS, _read, experiments
from tests.support import scratch
from tests.support.cluster import Cluster, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TITLES = {
    "launch": "Launch a training", "run": "Runs", "compare": "Compare", "playground": "Playground",
    "registry": "Registry",
}  # fmt: skip
PAGES = tuple(TITLES)
NOTHING = "Nothing"  # the title of a page
REPEATS = 3
LIMIT = 1.0  # seconds that a page may take


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--experiments", type=int, default=100)
    given = arguments.parse_args()
    told(measured(given), given, "streamlit", "prefect", "mlflow", "dvc")


def measured(given: argparse.Namespace) -> Iterator[str]:
    with TemporaryDirectory(prefix="gptcore-benchmark-") as folder:
        nothing = f"http://127.0.0.1:{free_port()}"  # else the lab starts a server, which takes the time of the pages
        cluster = Cluster(Path(folder) / "home", {"MLFLOW_TRACKING_URI": "", "GPTCORE_SERVING": nothing})
        cluster.start()
        try:
            root = project(Path(folder) / "project", cluster, given.experiments)
            os.environ |= {"PREFECT_API_URL": cluster.address, "MLFLOW_TRACKING_URI": ""}
            with chdir(root):
                yield from in_process(root)
                yield from in_chromium(root, cluster)
        finally:
            cluster.stop()


def in_process(root: Path) -> Iterator[str]:
    """What the server does for a page."""
    began = time.perf_counter()
    known = experiments(root, every_commit=True)
    yield f"{len(known)} experiments that DVC has not read before: {time.perf_counter() - began:.1f} s, once for all"
    drawn("compare")  # so that everything is imported
    nothing = timed("", lambda: None)
    yield f"a page that draws nothing takes {nothing:.2f} s of Streamlit's harness, which is in all of these:"
    for page in PAGES:
        cold = timed(page, forget_all)
        asked, warm = timed(page, forget_some), timed(page, lambda: None)
        new = timed(page, lambda: copied(root, 1))
        yield (
            f"{page:<11} cold {cold:.2f} s, asked {asked:.2f} s, warm {warm:.2f} s, new {new:.2f} s: "
            f"cold/warm {cold / warm:.1f}{'' if max(cold, asked, warm, new) < LIMIT else ', MORE THAN A SECOND'}"
        )


def timed(page: str, before: Callable[[], Any]) -> float:
    taken = []
    for _ in range(REPEATS):
        before()
        began = time.perf_counter()
        drawn(page)
        taken.append(time.perf_counter() - began)
    return median(taken)


def drawn(page: str) -> None:
    if page:
        app = AppTest.from_file(str(scratch.CHECKOUT / "lab/app.py"), default_timeout=120)
        app.switch_page(f"page/{page}.py")
    else:
        app = AppTest.from_string("import streamlit")
    app.run()
    assert not app.exception and not app.error and not app.warning, app


def forget_all() -> None:
    st.cache_data.clear()
    st.cache_resource.clear()
    _read.clear()


def forget_some() -> None:
    for each in (parts.flow_runs, parts.known_versions, parts.deployments):
        each.clear()


def in_chromium(root: Path, cluster: Cluster) -> Iterator[str]:
    """From an address to the first page of a new browser, then from a click to each page, twice."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        return
    from playwright.sync_api import sync_playwright

    port, log = free_port(), cluster.home / "lab.log"
    bare_port, bare_log, script = free_port(), cluster.home / "bare.log", cluster.home / "nothing.py"
    script.write_text(f"import streamlit\nstreamlit.title({NOTHING!r})\n")
    bare = ["run", str(script), "--server.port", str(bare_port)]
    bare += ["--server.headless", "true", "--browser.gatherUsageStats", "false"]
    with (
        cluster.launched(root, "lab", "--port", str(port), log=log.name),
        cluster.launched(root, "streamlit", *bare, log=bare_log.name),
        sync_playwright() as playwright,
    ):
        scratch.wait_until(lambda: "Ctrl-C" in log.read_text() and "URL" in bare_log.read_text())
        new = partial(playwright.chromium.launch, executable_path=chromium, args=["--no-sandbox"])
        taken = [opened(new, f"http://127.0.0.1:{bare_port}", NOTHING) for _ in range(REPEATS)]
        yield f"in a new browser, Streamlit's page with nothing but a title: {median(taken):.2f} s"
        address, heading = f"http://127.0.0.1:{port}", TITLES[PAGES[0]]
        taken = [opened(new, address, heading) for _ in range(REPEATS)]
        yield f"in a new browser, the lab's first page: {median(taken):.2f} s"
        page = new().new_page()
        page.goto(address)
        whole(page, heading)
        for name in (*PAGES[1:], PAGES[0]):
            taken = []
            for _ in range(2):
                began = time.perf_counter()
                clicked(page, name)
                taken.append(time.perf_counter() - began)
                clicked(page, "registry" if name == "playground" else "playground")
                page.wait_for_timeout(1000)
            yield f"{name:<11} in Chromium {taken[0]:.2f} s, again {taken[1]:.2f} s"


def opened(new: "Callable[[], Browser]", address: str, heading: str) -> float:
    """Seconds until the page at an address is there, in a browser of its own."""
    browser = new()
    page = browser.new_page()
    began = time.perf_counter()
    page.goto(address)
    whole(page, heading)
    seconds = time.perf_counter() - began
    browser.close()  # else its page would go on asking beside the next one
    return seconds


def clicked(page: "Page", name: str) -> None:
    page.get_by_role("link", name=name.title()).first.click()
    whole(page, TITLES[name])


def whole(page: "Page", heading: str) -> None:
    """Wait until the page is there, and at rest."""
    page.get_by_role("heading", level=1, name=heading).wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()


def project(root: Path, cluster: Cluster, n: int) -> Path:
    """A checkout in which `n` runs have been made."""
    scratch.make(root)
    shutil.copytree(scratch.CHECKOUT / "gptcore", root / "gptcore", ignore=shutil.ignore_patterns("__pycache__"))
    dvc = YAML().load(scratch.CHECKOUT / "dvc.yaml")
    for name, stage in dvc["stages"].items():
        stage["cmd"] = f"python stages.py {name}"
    YAML().dump(dvc, root / "dvc.yaml")
    scratch.commit(root)
    cluster.deploy()
    print(cluster.command(root, *scratch.flow_command()).splitlines()[-1], flush=True)
    os.environ["MLFLOW_TRACKING_URI"] = ""
    names = copied(root, n - 1)
    registered(root, names)
    started(cluster, names)
    return root


def copied(root: Path, n: int) -> list[str]:
    """Experiments like the first, with other parameters and figures, by `git fast-import`."""
    before = experiments(root, every_commit=True)
    first, taken = before[0], len(before)
    (reference,) = scratch.run(root, "git", "for-each-ref", "--format=%(refname)", f"refs/exps/**/{first.name}").split()
    at = "".join(reference.split("/")[2:4])
    files = {name: scratch.run(root, "git", "show", f"{reference}:{name}") for name in ("params.yaml", "dvc.lock")}
    names = [f"copy-{taken + each}" for each in range(n)]
    commits = [commit(root, reference, at, files, name, taken + each) for each, name in enumerate(names)]
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=root, check=True,
        input="".join(commits).encode(),
    )  # fmt: skip
    return names


def commit(root: Path, reference: str, at: str, files: dict[str, str], name: str, number: int) -> str:
    """One experiment, as git reads it."""
    lock = YAML(typ="safe").load(files["dvc.lock"])
    metrics = next(each for each in lock["stages"]["evaluate"]["outs"] if each["path"] == METRICS)
    cache = root / ".dvc/cache/files/md5"
    values = json.loads((cache / metrics["md5"][:2] / metrics["md5"][2:]).read_text())
    values["model"]["bits_per_byte"] += number / 1000
    text = json.dumps(values)
    made = md5(text.encode(), usedforsecurity=False).hexdigest()
    (cache / made[:2]).mkdir(exist_ok=True)
    (cache / made[:2] / made[2:]).write_text(text)
    steps = f"steps: {scratch.STEPS}\n"
    changed = {
        each: text.replace(steps, f"steps: {scratch.STEPS + number}\n").replace(metrics["md5"], made)
        for each, text in files.items()
    }
    place = reference.rpartition("/")[0]
    written = "".join(f"M 100644 inline {each}\n{data(text)}" for each, text in changed.items())
    who = f"committer test <test@example.org> {int(time.time()) + number} +0000"
    return f"commit {place}/{name}\n{who}\n{data(name)}from {at}\n{written}\n"


def data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"


def registered(root: Path, names: list[str]) -> None:
    with opened_in(root) as registry:
        first = registry.version(1)
        address, params = registry.address(1), [Param(*each) for each in registry.params(first).items()][:100]
        for number, name in enumerate(names):
            run = registry.client.create_run(registry.experiment, run_name=name).info.run_id
            registry.client.log_batch(run, params=params)
            own = {"flow_run_name": name, "dvc_experiment": name, "bits_per_byte": str(2.05 + number / 1000)}
            tags = packed({**first.tags, **own})
            registry.client.create_model_version(MODEL, address, run_id=run, tags=tags)


def started(cluster: Cluster, names: list[str]) -> None:
    with cluster.client() as client:
        flow = client.read_flow_by_name("train-gpt")
        for number, name in enumerate(names):
            body = {"flow_id": str(flow.id), "name": name, "parameters": {"overrides": [f"train.steps={number}"]},
                    "state": {"type": "COMPLETED", "name": "Completed"}}  # fmt: skip
            client.request("POST", "/flow_runs/", json=body)


if __name__ == "__main__":
    main()
