"""What the browser does around a handler: small scripts that several tabs hand to Gradio."""

from __future__ import annotations

from denoise_app.ui import static

THEME = "document.body.classList.contains('dark') ? 'dark' : 'light'"
"""Which theme the page has, as an expression."""

SORTABLE = static.text("sortable.js")
"""For a gr.HTML whose tables can be sorted, see there."""

READY = '(...buttons) => buttons.map(() => ({ interactive: true, __type__: "update" }))'
"""Lets buttons be pressed, which are its inputs and its outputs."""

TO_TOP = "(...given) => { scrollTo(0, 0); return given; }"

TO_BLIND = """() => {
  document.querySelector("#compare-start").click();
  const ready = () => {
    const isRunning = document.querySelector("#compare-cancel")?.checkVisibility();
    if (isRunning || !document.querySelector("#blind-versions input")) return setTimeout(ready, 200);
    document.querySelector("#blind").scrollIntoView({ block: "start" });
    document.querySelector("#blind-start").focus({ preventScroll: true });
  };
  setTimeout(ready, 500); // the order has been taken by then, and shows its Cancel
}"""
"""Compares what was handed on, and goes to the blind test as soon as there is something to test."""


def scroll_to(place: str) -> str:
    """Brings a part of the page into view where it is not, for those who press a button above it."""
    return f"""(...given) => {{
  const outcome = document.querySelector("{place}");
  const {{ top }} = outcome.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 3) {{
    outcome.style.minHeight = innerHeight + "px"; // there is little in it yet, and the page's end would stop it
    outcome.scrollIntoView({{ block: "start" }});
  }}
  return given;
}}"""
