"""HTML that is safe by construction: `tag` escapes whatever is not markup already, so nothing is escaped by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from denoise_app.ui.texts import Say


def tag(name: str, *content: str, **attributes: object) -> Markup:
    """An element.

    Args:
        name: Such as "p".
        content: One after the other; what is no Markup is escaped.
        attributes: Underscores stand for hyphens, one at the end is dropped; True is written as the name alone, None
            and False not at all.

    >>> tag("p", "1 < 2 ", tag("b", "yes"), class_="hint", data_said='"', hidden=True)
    Markup('<p class="hint" data-said="&#34;" hidden>1 &lt; 2 <b>yes</b></p>')
    """
    start = Markup().join(_attribute(key, value) for key, value in attributes.items())
    return Markup("<{0}{1}>{2}</{0}>").format(name, start, joined(content))


def _attribute(key: str, value: object) -> Markup:
    if value is None or value is False:
        return Markup()
    name = key.rstrip("_").replace("_", "-")
    return Markup(" {}").format(name) if value is True else Markup(' {}="{}"').format(name, value)


def joined(parts: Iterable[str], between: str = "") -> Markup:
    """Pieces in a row; what is no Markup is escaped.

    >>> joined(["a", tag("i", "b")], " & ")
    Markup('a &amp; <i>b</i>')
    """
    return escape(between).join(parts)


def sentences(say: Say, parts: Iterable[str]) -> Markup:
    """Sentences in a row, with a space between them where the language has one."""
    return joined(parts, "" if say.language == "zh" else " ")


# ------------------------------------------------------------------------------------------------------ small elements


def heading(text: str, level: int = 2) -> Markup:
    return tag(f"h{level}", text, class_="heading")


def hint(text: str) -> Markup:
    return tag("p", text, class_="hint")


def quiet(text: str) -> Markup:
    return tag("p", text, class_="quiet")


def hidden_text(text: str) -> Markup:
    """Something that is read aloud and not seen."""
    return tag("i", text, class_="said")


def decoration(text: str, name: str = "span") -> Markup:
    """Something that is seen and not read aloud."""
    return tag(name, text, aria_hidden="true")


def missing(why: str) -> Markup:
    """What stands in place of a value that there is not."""
    return decoration("–") + hidden_text(why)


def notices(items: Iterable[str]) -> Markup:
    """A list of what is odd; nothing where it is empty."""
    found = [tag("li", item) for item in items]
    return tag("ul", *found, class_="notes") if found else Markup()


def empty(first: str, more: str) -> Markup:
    """What stands where the result will be: what to do, and what will come of it."""
    bars = (tag("i", style=f"--h:{height}%") for height in (18, 34, 62, 46, 88, 70, 40, 56, 30, 14))
    return tag(
        "section",
        tag("div", *bars, class_="bars", aria_hidden="true"),
        tag("p", first, class_="first"),
        tag("p", more),
        class_="empty",
    )


def alert(text: str, title: str = "") -> Markup:
    """Something went wrong; stays until something else is done."""
    return tag("div", tag("strong", title) if title else "", tag("p", text), class_="notice wrong", role="alert")


def titled(text: str, of: str, **attributes: object) -> Markup:
    """The heading of a result, and what it is of; both are read aloud."""
    return tag(
        "div",
        tag("h2", text, class_="heading"),
        tag("span", of, class_="quiet"),
        class_="result-heading",
        data_said=f"{text}: {of}",
        **attributes,
    )


# -------------------------------------------------------------------------------------------------------------- tables


def head(text: str) -> Markup:
    """The head of a column."""
    return tag("th", text, scope="col")


def sortable_head(text: str, unit: str = "", better: str = "neither", help: str = "") -> Markup:
    """The head of a column that sortable.js sorts by; `help` says which way is better."""
    more = tag("small", unit) if unit else ""
    direction = tag("small", help) if help else ""
    button = tag("button", text, " ", more, tag("span", class_="order", aria_hidden="true"), type="button")
    return tag("th", button, direction, scope="col", aria_sort="none", data_better=better)


def row_head(text: str, data: str | None = None) -> Markup:
    """The head of a row, with what a column is sorted by."""
    return tag("th", text, scope="row", data_value=data)


def row(*cells: Markup) -> Markup:
    return tag("tr", *cells)


def table(heads: Iterable[Markup], rows: Iterable[Markup], caption: str = "") -> Markup:
    """A table; its caption is read aloud and not seen."""
    said = tag("caption", caption, class_="said") if caption else ""
    return tag("table", said, tag("thead", row(*heads)), tag("tbody", *rows))


def region(label: str, content: Markup, class_: str) -> Markup:
    """A part that scrolls by itself, also by keys."""
    return tag("div", content, class_=class_, role="region", tabindex="0", aria_label=label)


# ------------------------------------------------------------------------------------------------------------- at work


def working(say: Say, stage: str, fraction: float | None, parts: Sequence[str] = (), more: str = "") -> Markup:
    """Work under way.

    Args:
        stage: What is being done; it is read aloud.
        fraction: How much of it is done, 0 to 1; None while that is not known.
        parts: What else is known of how far it is.
        more: A sentence below.
    """
    percent = None if fraction is None else math.floor(100 * fraction)
    figures = " · ".join([*([] if percent is None else [say("run.progress", percent=percent)]), *parts])
    known = {} if percent is None else {"max": 100, "value": percent}
    return tag(
        "div",
        tag("p", tag("strong", stage), " ", tag("span", figures)),
        tag("progress", aria_label=stage, **known),
        quiet(more) if more else "",
        class_="working",
        data_said=stage,
    )


def finished(text: str) -> Markup:
    """A word on how the work ended."""
    return tag("p", text, class_="hint", data_said=text)
