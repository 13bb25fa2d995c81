"""Whether a page is for everybody: by the keyboard alone, with the contrast and the width that one has."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CONTRAST = Path(__file__).with_name("contrast.js").read_text()
STOPS = 200  # of Tab on one page, at most
LOOKS = """element => [element, element.parentElement, element.parentElement?.parentElement].map(each => {
  const style = each && getComputedStyle(each)
  return style && [style.outlineStyle, style.outlineWidth, style.boxShadow, style.borderColor, style.backgroundColor]
}).join()"""
REMEMBER = f"""() => {{
  const all = [...document.querySelectorAll("a, button, input, textarea, [tabindex]")]
  window.unfocused = new Map(all.map(each => [each, ({LOOKS})(each)]))
}}"""
UNSEEN = f"""() => {{
  const focused = document.activeElement.closest("canvas") ?? document.activeElement
  return window.unfocused.get(focused) === ({LOOKS})(focused) ? focused.outerHTML.slice(0, 300) : ""
}}"""


def at_rest(page: "Page") -> None:
    page.get_by_role("heading", level=1).first.wait_for()
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.get_by_test_id("stSkeleton").first.wait_for(state="hidden")


def press_by_keyboard(page: "Page", target: "Locator", key: str = "Enter") -> None:
    """Tab until it has the focus, and the key. Whatever has the focus on the way looks other than without it."""
    at_rest(page)
    page.add_style_tag(content="* { transition: none !important }")
    page.evaluate(REMEMBER)
    for _ in range(STOPS):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('canvas')"):
            page.locator("canvas :focus").wait_for(state="attached")  # a table gives the focus to its first cell
        assert not (unseen := page.evaluate(UNSEEN)), f"nothing shows the focus of {unseen}"
        if target.evaluate("element => element === document.activeElement"):
            page.keyboard.press(key)
            return
    raise AssertionError(f"Tab does not reach {target}")


def require_legible(page: "Page") -> None:
    """Contrast of WCAG AA, and nothing to the right of the window."""
    at_rest(page)
    assert page.evaluate(CONTRAST) == [], page.url
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), page.url
