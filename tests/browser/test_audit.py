"""An audit by axe-core of every tab: what keeps people with a keyboard or a screen reader out."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from .visit import Served, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def findings(page: Any) -> list[str]:
    """What axe-core calls serious or critical on the page as it is shown."""
    found = Axe().run(page, options={"runOnly": STANDARDS}).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['html'][:120]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_serious_on_any_tab(browser: Any, served: Served, theme: str, width: int) -> None:
    visit = Visit(browser, viewport={"width": width, "height": 844}, color_scheme=theme)
    visit.open(served.url)
    page = visit.page
    page.get_by_role("button", name="Telephone", exact=True).click()
    page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    page.locator("#denoise").click()
    page.wait_for_selector("#plot .js-plotly-plot")
    page.get_by_role("link", name="Report (JSON)").wait_for()
    found = {"Clean": findings(page)}
    page.get_by_role("tab", name="Clean").focus()
    for name, ready in (
        ("Compare", ".token"),
        ("Bench", ".token"),
        ("Live", ".live-start"),
        ("Batch", "#batch-start"),
        ("Models", "#board-table a"),
    ):
        page.keyboard.press("ArrowRight")  # from tab to tab without a mouse
        page.locator(ready).locator("visible=true").first.wait_for()
        assert page.evaluate("document.activeElement.textContent.trim()") == name
        found[name] = findings(page)
    assert {name: each for name, each in found.items() if each} == {}
    visit.close()


def test_chips_are_named_by_what_they_hold_and_play_by_what_it_plays(browser: Any, served: Served) -> None:
    visit = Visit(browser, permissions=["clipboard-write"])  # without windows chromium asks nobody, and grants nothing
    visit.open(served.url)
    page = visit.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the recording"
    page.get_by_role("button", name="Telephone", exact=True).click()
    page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    page.locator("#denoise").click()
    page.get_by_role("button", name="Play: After", exact=True).wait_for()
    assert page.get_by_role("button", name="Play", exact=True).count() == 1  # of the recording itself
    page.wait_for_selector("#plot .js-plotly-plot")  # from then on nothing is written anew, the links included
    page.get_by_role("link", name="Copy link to these settings").click()
    page.get_by_role("link", name="Link copied").wait_for()
    page.locator("#to-compare").click()  # the recording goes on to Compare without another upload
    page.wait_for_function("document.querySelector('#compare-facts')?.innerText.includes('english-telephone.flac')")
    used = page.locator("#compare-columns .token").first.inner_text().strip()
    page.get_by_role("button", name=f"Remove {used}", exact=True).wait_for()
    visit.close()
