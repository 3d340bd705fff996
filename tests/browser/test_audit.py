"""An audit by axe-core of every tab: what keeps people with a keyboard or a screen reader out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from .visit import Served, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]

STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def findings(page: Any) -> list[str]:
    """What axe-core calls serious or critical on the page as it is shown."""
    options = {"runOnly": STANDARDS, "resultTypes": ["violations"]}  # to describe what passes takes long
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']}: {node['target']} {node['html'][:120]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def findings_in_both_themes(page: Any) -> dict[str, list[str]]:
    """What is found in the light theme and in the dark one, as the page follows the browser."""
    found = {}
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(f"document.body.classList.contains('dark') === {json.dumps(theme == 'dark')}")
        found[theme] = findings(page)
    return {theme: each for theme, each in found.items() if each}


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_serious_on_any_tab(browser: Any, served: Served, width: int) -> None:
    at_once = {"reduced_motion": "reduce"}  # from theme to theme, without colours between
    visit = Visit(browser, viewport={"width": width, "height": 844}, color_scheme="light", **at_once)
    visit.open(served.url)
    page = visit.page
    page.get_by_role("button", name="Telephone", exact=True).click()
    page.wait_for_function("document.querySelector('#facts')?.innerText.includes('LUFS')")
    page.locator("#denoise").click()
    page.wait_for_selector("#plot .js-plotly-plot")
    page.get_by_role("link", name="Report (JSON)").wait_for()
    found = {"Clean": findings_in_both_themes(page)}
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
        found[name] = findings_in_both_themes(page)
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
