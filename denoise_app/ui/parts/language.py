"""Which language: of what the browser translates, and of what the server writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import gradio as gr
from gradio.i18n import I18nData

from denoise_app.ui.texts import LANGUAGES, Say, language_of


class Words:
    """Texts that are on the page from the start, and that the browser shows in its own language."""

    def __init__(self) -> None:
        self._made: dict[str, dict[str, str]] = {language: {} for language in LANGUAGES}

    def __call__(self, key: str) -> I18nData:
        """A sentence of the texts, for a label or a button."""
        return self.made(key, lambda say: say(key))

    def made(self, key: str, make: Callable[[Say], str]) -> I18nData:
        """A text that is made for each language, by a key that is used once."""
        for language, texts in self._made.items():
            texts[key] = make(Say(language))
        return I18nData(key)

    @property
    def translations(self) -> gr.I18n:
        """What `launch` is given once the page is built; Gradio asks for Chinese by these names."""
        return gr.I18n(**{"en": self._made["en"], "zh": self._made["zh"], "zh-CN": self._made["zh"]})


def say_in(accepted: str) -> Say:
    """The sentences in the best of the languages that an Accept-Language header names."""
    return Say(language_of(accepted))


def say_for(request: gr.Request | None) -> Say:
    """The sentences in the language of a visitor's browser."""
    headers: Mapping[str, str] = request.headers if request is not None else {}
    return Say(language_of(headers.get("accept-language")))
