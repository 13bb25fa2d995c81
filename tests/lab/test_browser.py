"""The lab as a person uses it: a real browser, the real servers, one of them killed, a run stopped and resumed."""

import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows.services.ui import LOGS
from gptcore.files import read_json, sha256_file
from gptcore.model.folder import save_export
from gptcore.registry.tracking import opened_in
from gptcore.weights.nanogpt import read_nanogpt
from tests.lab.reach import press_by_keyboard, require_legible
from tests.support import scratch
from tests.support.cluster import Cluster, free_port
from tests.support.engine import make_workspace
from tests.support.patience import PATIENCE
from tests.support.serving import in_a_thread, served

if TYPE_CHECKING:  # its import takes time in each test process, which collects all tests and runs some
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]
PATIENCE_MS = PATIENCE * 1000
EXPORTED = "data/exported/gpt-2-nanogpt"


@contextmanager
def chromium() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def lab(finished: Path, cluster: Cluster) -> Iterator[str]:
    """Its address, over a project with a champion, which a server answers for; a worker is up."""
    port, log = free_port(), cluster.home / "lab.log"
    log.unlink(missing_ok=True)
    with in_a_thread() as champion, cluster.worker(finished):
        own = copy(cluster)
        own.environment = {**cluster.environment, "GPTCORE_SERVING": champion}
        with own.launched(finished, "lab", "--port", str(port), log="lab.log"):
            scratch.wait_until(lambda: "Ctrl-C" in log.read_text())
            yield f"http://127.0.0.1:{port}"
    assert scratch.processes_in(finished) == []


def opened(browser: "Browser", address: str) -> "Page":
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    return page


def sees(page: "Page", text: str) -> None:
    from playwright.sync_api import expect

    expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE_MS)


def press(page: "Page", button: str) -> None:
    page.get_by_role("button", name=button).click()


def go(page: "Page", name: str) -> None:
    """When the page is at rest: a click in the middle of a rerun, which sets the address, may be lost."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.get_by_role("link", name=name).first.click()


def choose(page: "Page", field: str, option: str) -> None:
    page.get_by_role("combobox", name=field).click()
    page.get_by_role("option", name=option).first.click()


def give_reason(page: "Page", field: str, button: str) -> None:
    page.get_by_role("textbox", name=field).fill("to see it")
    page.keyboard.press("Tab")
    press(page, button)


@contextmanager
def away(cluster: Cluster) -> Iterator[None]:
    """Prefect's server is killed, and started again after the block."""
    cluster.stop(signal.SIGKILL)
    try:
        yield
    finally:
        cluster.start()


def make_it_speak(root: Path, number: int) -> None:
    """Give a version weights with which it computes: those of the scratch stages are a text."""
    with opened_in(root) as registry, registry.export(number) as folder:
        shutil.rmtree(folder)
        found = served(number)
        save_export(folder, found.gpt, found.tokenizer)
        registry.tag(number, {"model_sha256": sha256_file(folder / "model.safetensors")})


def give_it_a_text(root: Path) -> None:
    """Tokens on which an export is compared with its model: those of the scratch stages are none."""
    shutil.rmtree(root / "data/tokens")
    shutil.move(make_workspace(root.parent / "text") / "data/tokens", root / "data")


@pytest.mark.slow
@pytest.mark.timeout(900)  # a minute, but several on a busy machine
def test_a_person_goes_through_all_of_it(lab: str, finished: Path, cluster: Cluster) -> None:
    from playwright.sync_api import expect

    trouble = finished / "trouble-train"
    trouble.write_text("wait 2")
    with chromium() as browser:
        page = opened(browser, f"{lab}/launch?o=train.steps={scratch.STEPS_WORSE}")
        press_by_keyboard(page, page.get_by_role("button", name="Start the run"))
        sees(page, "train: step 2 of 4, 0:09 left")
        page.reload()
        sees(page, "train: step 2 of 4, 0:09 left")
        other = opened(browser, page.url)
        sees(other, "train: step 2 of 4, 0:09 left")
        trouble.write_text("wait 4")  # of the next run; this one waits until it is stopped
        press(page, "Cancel")
        sees(other, "Start again")  # which nobody has touched
        press(other, "Start again")
        sees(other, "train: step 4 of 8")
        assert scratch.steps_taken(finished)[-4:] == [1, 2, 3, 4]  # it goes on after step 2
        with away(cluster):
            sees(other, "does not answer")
        sees(other, "train: step 4 of 8")
        trouble.unlink()
        sees(other, "Start again")
        sees(other, "is not promoted")
        heard = list[object]()
        other.on("websocket", lambda socket: socket.on("framereceived", lambda frame: heard.append(frame)))
        other.reload()
        sees(other, "is not promoted")
        make_it_speak(finished, 2)

        press_by_keyboard(page, page.get_by_role("link", name="Playground").first)
        choose(page, "Beside it", "gpt@2")
        press_by_keyboard(page, page.get_by_role("button", name="Generate"), "Space")
        expect(page.get_by_text("pieces in")).to_have_count(2, timeout=PATIENCE_MS)
        first, second = page.locator(".said").all_inner_texts()
        assert first.startswith("ROMEO.") and second.startswith("ROMEO.") and first != second
        assert "%" in str(page.locator(".said span[title]").first.get_attribute("title"))  # a token, how likely it was
        at_rest, talk = len(heard), page.url

        go(page, "Registry")
        choose(page, "Version", "version 2")
        sees(page, "is not promoted")
        give_it_a_text(finished)
        press(page, "Export")
        choose(page, "To", "nanogpt")
        page.get_by_test_id("stPopoverBody").get_by_role("button", name="Export").click()
        sees(page, f"It is in {EXPORTED}")
        read_nanogpt(finished / EXPORTED / "ckpt.pt")
        assert read_json(finished / EXPORTED / "parity.json")["model"] == "gpt@2"
        page.keyboard.press("Escape")
        press(page, "Promote")
        sees(page, "The gate would refuse it now, beside version 1")
        give_reason(page, "Why", "Make version 2 champion")
        version = page.get_by_role("combobox", name="Version")
        expect(version).to_have_value(re.compile(r"version 2 \(.*champion"), timeout=PATIENCE_MS)
        press(page, "Roll back")
        give_reason(page, "What is wrong with it", "Withdraw version 2")
        expect(version).to_have_value(re.compile(r"version 1 \(champion"), timeout=PATIENCE_MS)

        run, registry = other.url, page.url
        page.goto(f"{lab}/compare")
        both = page.get_by_text(re.compile(r"\w+-\w+, \w+-\w+\. Choose rows"))
        expect(both).to_be_visible(timeout=PATIENCE_MS)
        assert len(heard) == at_rest > 0  # the page of a run that has ended asks no more

        for theme, width in (("light", 1440), ("dark", 390)):
            eyes = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900}).new_page()
            eyes.set_default_timeout(PATIENCE_MS)
            for address in (f"{lab}/launch?o=train.steps=0", f"{lab}/run", run, f"{lab}/compare", talk, registry):
                eyes.goto(address)
                require_legible(eyes)
    assert "GET /" not in (finished / LOGS / "lab.log").read_text()  # an address may have the token
