"""Figures as a page of their own: small, whole, and safe."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from denoise_app.plots.page import page
from denoise_app.plots.spectrogram import spectrogram_db
from denoise_app.plots.theme import Words

RATE = 48_000


def panels(seconds: float, count: int = 3) -> list[tuple[str, object]]:
    rng = np.random.default_rng(0)
    sounds = (0.1 * rng.standard_normal(round(seconds * RATE)).astype(np.float32) for _ in range(count))
    return [(f"Panel <{k}>", spectrogram_db(sound, RATE)) for k, sound in enumerate(sounds)]


@pytest.mark.slow
@pytest.mark.parametrize(("seconds", "count"), [(0.05, 1), (3.0, 3), (40.0, 7)])
def test_it_is_below_a_megabyte_and_needs_nothing_else(seconds: float, count: int) -> None:
    made = page(panels(seconds, count), "talk.wav", "en")  # type: ignore[arg-type]
    assert len(made.encode()) < 1_000_000
    assert made.count("<img") == count and "<script" not in made
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)"', made))


def test_its_pictures_are_the_spectrograms() -> None:
    made = page(panels(3.0, 2), "talk.wav", "en")  # type: ignore[arg-type]
    for encoded in re.findall(r"base64,([^\"]*)", made):
        picture = Image.open(io.BytesIO(b64decode(encoded)))
        assert picture.width > 90 and np.asarray(picture.convert("RGB")).std() > 5


def test_names_are_text_and_every_tag_is_closed() -> None:
    shown = panels(1.0)
    attenuation = np.full(shown[0][1].times.size, np.nan, np.float32)  # type: ignore[attr-defined]
    attenuation[3:5] = 1.0, 3.5
    words = Words(time="Zeit <s>", attenuation="<b>")
    made = page(shown, "<script>alert(1)</script>", "zh", words, attenuation)  # type: ignore[arg-type]
    assert "<script" not in made and "<b>" not in made and "Panel &lt;0&gt;" in made and 'lang="zh"' in made
    assert "3.5" in made and "polyline" in made
    open_tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attributes: object) -> None:
            if tag not in ("meta", "img"):
                open_tags.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert open_tags.pop() == tag

    Tags().feed(made)
    assert open_tags == []
