"""The lab as a person uses it: a real browser, the real servers, a run from its start to a promotion and back."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support import scratch
from tests.support.cluster import Cluster, free_port

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")]
PATIENCE = 60_000  # milliseconds, of a busy machine


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def lab(finished: Path, cluster: Cluster) -> Iterator[str]:
    """Its address, over a project with a champion; a worker is up."""
    port, log = free_port(), cluster.home / "lab.log"
    log.unlink(missing_ok=True)
    with cluster.launched(finished, "lab", "--port", str(port), log="lab.log"), cluster.worker(finished):
        scratch.wait_until(lambda: "Ctrl-C" in log.read_text())
        yield f"http://127.0.0.1:{port}"
    assert scratch.processes_in(finished) == []


def opened(browser: Browser, address: str) -> Page:
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    return page


def sees(page: Page, text: str) -> None:
    expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE)


def give_reason(page: Page, field: str, button: str) -> None:
    page.get_by_role("textbox", name=field).fill("to see it")
    page.keyboard.press("Tab")
    page.get_by_role("button", name=button).click()


@pytest.mark.slow
@pytest.mark.timeout(600)  # half a minute, but several on a busy machine
def test_launch_watch_compare_promote_and_roll_back(lab: str, finished: Path) -> None:
    (finished / "trouble-train").write_text("wait 2")
    with chromium() as browser:
        page = opened(browser, f"{lab}/?o=train.steps={scratch.STEPS_WORSE}")
        page.get_by_role("button", name="Start the run").click()
        sees(page, "train: step 2 of 4, 0:09 left")
        page.reload()
        sees(page, "train: step 2 of 4, 0:09 left")
        other = opened(browser, page.url)
        sees(other, "train: step 2 of 4, 0:09 left")
        (finished / "trouble-train").unlink()
        for each in (page, other):  # neither is touched
            sees(each, "report")
            sees(each, "Completed")
            sees(each, "Start again")

        page.goto(f"{lab}/registry?version=2")
        sees(page, "is not promoted")
        page.get_by_role("button", name="Promote").click()
        sees(page, "The gate refused it")
        give_reason(page, "Why", "Make version 2 champion")
        version = page.get_by_role("combobox", name="Version")
        expect(version).to_have_value(re.compile(r"version 2 \(.*champion"), timeout=PATIENCE)
        page.get_by_role("button", name="Roll back").click()
        give_reason(page, "What is wrong with it", "Withdraw version 2")
        expect(version).to_have_value(re.compile(r"version 1 \(champion"), timeout=PATIENCE)

        page.goto(f"{lab}/compare")
        both = page.get_by_text(re.compile(r"\w+-\w+, \w+-\w+\. Choose rows"))
        expect(both).to_be_visible(timeout=PATIENCE)
