"""The player in a real browser: what it plays is compared with the files, sample by sample."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile

from denoise_app.ui.parts.player import MOST_VERSIONS, ROUTES, TEXTS, Version, build_player, player_value

from .visit import ENCODED, Visit, decoded

pytestmark = pytest.mark.browser

RATE = 16_000
FADE = 0.006  # s, as in player.js
LONG_RATE, LONG_SECONDS = 16_000, 400  # a window comes in more than one block
PLAYERS_ARE_THERE = (
    "[...document.querySelectorAll('.denoise-player')].filter((one) => one.parentElement.denoisePlayer).length === 2"
)


# ------------------------------------------------------------------------------------------------------------ the page


@dataclass(frozen=True)
class Sounds:
    """Files to play, and their samples (channels, time) float32 as they lie in them."""

    folder: Path

    def write(self, name: str, samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> Path:
        path = self.folder / f"{name}.wav"
        soundfile.write(path, samples, rate, subtype)
        return path

    def samples(self, name: str) -> np.ndarray:
        return soundfile.read(self.folder / f"{name}.wav", dtype="float32", always_2d=True)[0].T

    def frames_of(self, name: str, heard: np.ndarray) -> np.ndarray:
        """Frames of a file in a loop, (time,), for what begins with 1,000 of its samples."""
        once = self.samples(name)[0]
        around = np.concatenate([once, once[:2000]])  # the loop's end is followed by its beginning
        first = int(np.argmax(np.correlate(around, heard[:1000], "valid")))
        return (first + np.arange(len(heard))) % len(once)

    def match(self, name: str, heard: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Whether each of the samples heard is that of a file at its frame; (time,)."""
        return np.abs(heard - self.samples(name)[0][frames]) < 1e-6


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Sounds:
    """Noise, so that every stretch of a file can be told from every other and from those of the other files."""
    rng = np.random.default_rng(7)
    made = Sounds(tmp_path_factory.mktemp("sounds"))
    for name, level in (("before", 0.3), ("after", 0.15), ("removed", 0.05), ("stronger", 0.1)):
        made.write(name, rng.uniform(-level, level, 3 * RATE))
    made.write("stereo", 1.5 * rng.uniform(-1, 1, (44_100, 2)), 44_100, "FLOAT")  # beyond full scale too
    made.write("deep", 1e-4 * rng.uniform(-1, 1, 48_000), 48_000, "PCM_24")
    made.write("many", rng.uniform(-0.1, 0.1, (RATE, 6)))
    made.write("point", np.array([0.25]))
    made.write("fast", 0.5 * np.sin(2 * np.pi * 1000 * np.arange(192_000) / 192_000), 192_000)
    for name in ("long-before", "long-after"):
        made.write(name, rng.uniform(-0.3, 0.3, LONG_SECONDS * LONG_RATE), LONG_RATE)
    return made


def values(sounds: Sounds) -> dict[str, Callable[[], dict[str, Any] | None]]:
    """What the buttons of the test page hand to the player."""

    def versions(*names: str, gains: tuple[float, ...] = ()) -> list[Version]:
        return [
            Version(name, name.capitalize(), sounds.folder / f"{name}.wav", gain)
            for name, gain in zip(names, gains or (0.0,) * len(names), strict=True)
        ]

    def with_missing() -> dict[str, Any]:
        for name in ("gone", "gone-too"):
            shutil.copy(sounds.folder / "after.wav", sounds.folder / f"{name}.wav")
        value = player_value(versions("gone", "before"))
        (sounds.folder / "gone.wav").unlink()
        return value

    def all_missing() -> dict[str, Any]:
        value = player_value(versions("gone-too"))
        (sounds.folder / "gone-too.wav").unlink()
        return value

    return {
        "three": lambda: player_value(versions("before", "after", "removed", gains=(-6.0, 0.0, 3.0))),
        "three again": lambda: player_value(versions("before", "stronger", "removed", gains=(-6.0, 0.0, 3.0))),
        "ten": lambda: player_value(
            [
                *versions("before", "after", "removed", gains=(-6.0, 0.0, 3.0)),
                *(Version(f"more{k}", f"more{k}", sounds.folder / "stronger.wav") for k in range(7)),
            ]
        ),
        "seventeen": lambda: player_value(
            [Version(f"more{k}", f"more{k}", sounds.folder / "after.wav") for k in range(MOST_VERSIONS)]
        ),
        "triplets": lambda: player_value([Version(key, key, sounds.folder / "before.wav") for key in "abc"]),
        "stereo": lambda: player_value(versions("stereo")),
        "deep": lambda: player_value(versions("deep")),
        "many": lambda: player_value(versions("many")),
        "point": lambda: player_value(versions("point")),
        "fast": lambda: player_value(versions("fast")),
        "long": lambda: player_value(versions("long-before", "long-after")),
        "with missing": with_missing,
        "all missing": all_missing,
        "nothing": lambda: None,
    }


def sentences(prefix: str) -> dict[str, str]:
    """Stand-ins for the page's sentences; each says its own key, and the facts that it is given."""
    facts = ("version", "position", "total", "percent", "from", "to", "gain", "channels", "what")
    return {key: f"{prefix}{key} " + " ".join(f"{{{fact}}}" for fact in facts) for key in TEXTS}


@pytest.fixture(scope="module")
def address(sounds: Sounds) -> Iterator[str]:
    texts = {"en": sentences(""), "zh": sentences("中 ") | {"player.version.before": "降噪前"}}
    with gr.Blocks(analytics_enabled=False) as page:
        players = [build_player(texts, elem_id=name) for name in ("first", "second")]
        for player in players:
            for name, value in values(sounds).items():
                gr.Button(f"{player.elem_id} {name}").click(value, outputs=player, api_visibility="private")
        for name, visible in (("hide", False), ("unhide", True)):
            show = partial(gr.update, visible=visible)
            gr.Button(name).click(show, outputs=players[0], api_visibility="private")
    routes = {"app_kwargs": {"routes": ROUTES}}
    _, url, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, run_history=False, **routes)
    yield url
    page.close()


class Driver:
    """One player on an open page."""

    def __init__(self, page: Any, name: str = "first") -> None:
        self.page, self.name = page, name
        self.box = page.locator(f"#{name}")
        self.timeline = self.box.locator(".timeline")

    def show(self, value: str) -> None:
        """Presses the button that hands the player this value, and waits until its sound is there."""
        loads = self.run("player.loads")
        self.page.get_by_role("button", name=f"{self.name} {value}", exact=True).click()
        self.wait("player.loads > loads && player.state !== 'loading'", loads=loads)

    def reset(self) -> None:
        if self.run("player.state") != "empty":
            self.show("nothing")
        self.run("[player.setMatched(true), player.setVolume(1)]")

    def run(self, code: str, **facts: Any) -> Any:
        """The value of a JavaScript expression over `player`, its handle, `element` and the facts."""
        return self.page.evaluate(f"async (facts) => {{ {self._scope(facts)} return {code}; }}", facts)

    def wait(self, code: str, **facts: Any) -> None:
        self.page.wait_for_function(f"(facts) => {{ {self._scope(facts)} return {code}; }}", arg=facts)

    def _scope(self, facts: dict[str, Any]) -> str:
        return (
            f"const element = document.querySelector('#{self.name} .denoise-player').parentElement, "
            f"player = element.denoisePlayer; const {{{', '.join(facts)}}} = facts;"
        )

    def rendered(self, seconds: float, **options: Any) -> np.ndarray:
        """(channels, time) of what would be heard."""
        wanted = options | {"seconds": seconds}
        channels = self.run(f"(await player.render(wanted)).channels.map({ENCODED})", wanted=wanted)
        return np.stack([decoded(samples) for samples in channels])

    def captured(self, *actions: str) -> np.ndarray:
        """(time,) of what sounds, in a loop, 3,000 samples before each of the actions and after them."""
        self.show("three")
        self.run("[player.setMatched(false), player.setLooping(true)]")  # so that it does not end on a slow machine
        self.box.get_by_role("button", name="player.play ", exact=False).first.click()
        self.wait("player.playing && player.position > 0.2")
        steps = "".join(f"await more(3000); {action};" for action in actions)
        samples = self.run(
            f"""await (async () => {{
              player.pause(); // a first worklet moves the sound to another thread, and may move it in time
              const code = "registerProcessor('tap', class extends AudioWorkletProcessor {{"
                + " process([input]) {{ if (input[0]) this.port.postMessage([currentTime, input[0].slice()]);"
                + " return true; }} }})";
              const url = URL.createObjectURL(new Blob([code], {{type: 'text/javascript'}}));
              await player.context.audioWorklet.addModule(url);
              const tap = new AudioWorkletNode(player.context, 'tap'), samples = [];
              let since = Infinity;
              tap.port.onmessage = ({{data: [time, block]}}) => time >= since && samples.push(...block);
              player.output.connect(tap);
              const until = async (reached) => {{
                while (!reached()) await new Promise((next) => setTimeout(next, 10));
              }};
              const more = (count, enough = samples.length + count) => until(() => samples.length >= enough);
              const rested = player.position;
              player.play();
              await until(() => player.position > rested + 0.2); // it has faded in
              since = player.context.currentTime;
              {steps} await more(3000);
              player.pause();
              return samples;
            }})()"""
        )
        return np.array(samples[:-1000], np.float32)  # without what may be of the pause

    def spoken(self) -> str:
        return self.box.locator(".spoken").text_content().strip()

    def pressed(self) -> list[str]:
        """Names of the versions that are marked as heard."""
        return [label.strip() for label in self.box.locator(".version[aria-pressed=true] .label").all_inner_texts()]


@contextmanager
def opened(browser: Any, address: str, width: int, locale: str) -> Iterator[Any]:
    """A new visitor's page, with both players on it; no error of the page's code is let pass."""
    visit = Visit(browser, viewport={"width": width, "height": 900}, locale=locale)
    visit.page.on("console", lambda line: visit.problems.append(line.text) if "js_on_load" in line.text else None)
    visit.page.goto(address)
    visit.page.wait_for_function(PLAYERS_ARE_THERE)
    yield visit.page
    visit.close()


@pytest.fixture(scope="module")
def shared_page(browser: Any, address: str) -> Iterator[Any]:
    with opened(browser, address, 1000, "en-US") as page:
        yield page


@pytest.fixture
def page(shared_page: Any) -> Any:
    """One page for all tests, for it takes a second to open: the players are emptied and set back."""
    for name in ("first", "second"):
        Driver(shared_page, name).reset()
    return shared_page


@pytest.fixture
def player(page: Any) -> Driver:
    return Driver(page)


# ------------------------------------------------------------------------------------------------- what reaches the ear


@pytest.mark.parametrize("name", ["before", "after", "removed"])
def test_plays_the_samples_of_the_file_when_loudness_is_not_matched(player: Driver, sounds: Sounds, name: str) -> None:
    player.show("three")
    player.box.get_by_role("switch").click()
    heard, file = player.rendered(3, version=name), sounds.samples(name)
    assert np.array_equal(heard, file)
    assert abs(20 * np.log10(heard.std() / file.std())) < 0.1


@pytest.mark.parametrize(("name", "rate"), [("stereo", 44_100), ("deep", 48_000)])
def test_keeps_channels_rate_and_what_16_bits_do_not_hold(player: Driver, sounds: Sounds, name: str, rate: int) -> None:
    player.show(name)
    assert player.run("player.sampleRate") == rate
    assert np.array_equal(player.rendered(1), sounds.samples(name)[:, :rate])


def test_matched_loudness_applies_the_gains_and_shows_them(player: Driver, sounds: Sounds) -> None:
    player.show("three")
    assert player.run("player.matched")
    for name, gain in (("before", -6.0), ("after", 0.0), ("removed", 3.0)):
        assert player.rendered(3, version=name) == pytest.approx(sounds.samples(name) * 10 ** (gain / 20), abs=1e-6)
    shown = player.box.locator(".gain").all_inner_texts()
    assert "−6.0" in shown[0] and shown[1] == "" and "+3.0" in shown[2]
    player.box.get_by_role("switch").click()
    assert player.box.locator(".gain").all_inner_texts() == ["", "", ""]


def test_a_switch_keeps_the_sample(player: Driver, sounds: Sounds) -> None:
    player.show("three")
    player.run("player.setMatched(false)")
    heard = player.rendered(
        3, version="before", switches=[{"at": 1.0, "version": "after"}, {"at": 2.0, "version": "removed"}]
    )
    fade = round(FADE * RATE) + 1
    for start, end, name in ((0, 1, "before"), (1, 2, "after"), (2, 3, "removed")):
        stretch = slice(start * RATE + (fade if start else 0), end * RATE)
        assert heard[:, stretch] == pytest.approx(sounds.samples(name)[:, stretch], abs=1e-7)


def test_a_switch_makes_no_gap_no_dip_and_no_click(player: Driver, sounds: Sounds) -> None:
    player.show("triplets")  # the same sound three times: whatever differs from it was made by switching
    hurried = [{"at": 0.5 + 0.001 * n, "version": "abc"[(n + 1) % 3]} for n in range(20)]
    heard = player.rendered(1, version="a", switches=hurried)
    assert heard == pytest.approx(sounds.samples("before")[:, :RATE], abs=1e-6)


def test_neither_a_switch_nor_a_new_start_moves_or_interrupts_what_sounds(player: Driver, sounds: Sounds) -> None:
    # all versions start anew, where they are, when a loop is set
    heard = player.captured("player.select('after')", "player.setLooping(true)")
    frames = sounds.frames_of("before", heard)
    is_before, is_after = (sounds.match(name, heard, frames) for name in ("before", "after"))
    between = np.flatnonzero(~is_before & ~is_after)
    assert len(between) <= FADE * RATE
    assert is_before[: between[0]].all() and is_after[between[-1] + 1 :].all()


def test_a_start_that_came_late_is_made_again(player: Driver, sounds: Sounds) -> None:
    heard = player.captured(
        """(() => {
          const { start } = AudioBufferSourceNode.prototype;
          AudioBufferSourceNode.prototype.start = function (...when) {
            AudioBufferSourceNode.prototype.start = start;
            for (const until = performance.now() + 300; performance.now() < until;); // something holds the page up
            start.apply(this, when);
          };
          player.setLooping(true);
        })()""",
        *["null"] * 4,  # samples that came meanwhile, and those until it is made again
    )
    assert sounds.match("before", heard, sounds.frames_of("before", heard))[-1000:].all()


@pytest.mark.parametrize(
    "hurried",
    [
        "player.setLooping(true); player.seek(1)",
        "for (let k = 0; k < 20; k++) player.seek(k / 10)",
        "for (let k = 0; k < 6; k++) { player.setRegion(2, 2.5); player.setRegion(0, 2.8) }",
        "player.setLooping(true); player.pause(); player.play(); player.setLooping(true); player.seek(0.5)",
    ],
)
def test_however_hurried_new_starts_are_one_sounds_at_a_time(player: Driver, sounds: Sounds, hurried: str) -> None:
    heard = player.captured(hurried, hurried, *["null"] * 4)  # time for the last to begin on a busy page
    assert np.abs(heard[-1000:]).max() > 0.2
    assert np.abs(heard).max() <= np.abs(sounds.samples("before")).max() + 1e-6


def test_a_start_in_the_middle_is_on_the_sample_and_does_not_click(player: Driver, sounds: Sounds) -> None:
    player.show("three")
    player.run("player.setMatched(false)")
    start = 1.25
    heard = player.rendered(0.5, start=start, version="after")
    settled = slice(round((start + FADE) * RATE) + 1, round((start + 0.5) * RATE))
    assert heard[:, -(settled.stop - settled.start) :] == pytest.approx(sounds.samples("after")[:, settled], abs=1e-7)
    assert np.abs(heard[:, 0]) < 1e-6  # fades in


def test_a_loop_repeats_its_samples(player: Driver, sounds: Sounds) -> None:
    player.show("three")
    player.run("[player.setMatched(false), player.setRegion(0.5, 0.75)]")
    heard = player.rendered(1.5, version="before")
    file = sounds.samples("before")
    once = file[:, RATE // 2 : RATE * 3 // 4]
    expected = np.concatenate([file[:, : RATE // 2], once, once, once, once], axis=1)
    assert heard == pytest.approx(expected, abs=1e-6)


def test_a_file_that_browsers_cannot_play_at_its_rate_is_resampled_for_them(player: Driver) -> None:
    player.show("fast")
    assert player.run("player.sampleRate") == 96_000
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(96_000) / 96_000)
    inner = slice(1000, 95_000)  # the filter rings at the ends of the file
    assert player.rendered(1)[0, inner] == pytest.approx(expected[inner], abs=1e-3)


def test_more_than_two_channels_are_heard_as_their_mean_and_that_is_said(player: Driver, sounds: Sounds) -> None:
    player.show("many")
    assert player.rendered(1) == pytest.approx(sounds.samples("many").mean(axis=0, keepdims=True), abs=1e-6)
    assert "player.mixed" in player.box.get_by_role("status").text_content()


def test_the_volume_is_the_only_other_gain(player: Driver, sounds: Sounds) -> None:
    player.show("three")
    player.run("player.setMatched(false)")
    player.box.get_by_role("slider", name="player.volume").fill("0.5")
    assert player.rendered(1, version="before") == pytest.approx(0.5 * sounds.samples("before")[:, :RATE], abs=1e-6)


# ----------------------------------------------------------------------------------------------------------- by hand


def test_nothing_plays_before_it_is_asked_to(player: Driver) -> None:
    player.show("three")
    assert player.run("[player.playing, player.context]") == [False, None]
    assert player.run("player.position") == 0


def test_keys(player: Driver) -> None:
    player.show("three")
    player.timeline.focus()
    press = player.page.keyboard.press
    for key, name in (("2", "After"), ("3", "Removed"), ("1", "Before"), ("4", "Before")):
        press(key)
        assert player.pressed() == [name]
    for key, position in (("ArrowRight", 1.0), ("ArrowRight", 2.0), ("ArrowLeft", 1.0), ("Shift+ArrowRight", 1.1)):
        press(key)
        assert player.run("player.position") == pytest.approx(position)
    press("[")
    press("ArrowRight")
    press("]")
    assert player.run("player.region") == pytest.approx({"from": 1.1, "to": 2.1})
    assert player.run("player.looping")
    press("l")
    assert not player.run("player.looping")
    press("m")
    assert not player.run("player.matched")
    press("End")
    assert player.run("player.position") == 3
    press("Home")
    assert player.run("player.position") == 0
    press("Space")
    player.wait("player.playing && player.position > 0.05")
    press("Space")
    assert not player.run("player.playing")
    assert 0 < player.run("player.position") < 3


def test_space_works_the_focused_control_and_otherwise_plays(player: Driver) -> None:
    player.show("three")
    press = player.page.keyboard.press
    player.box.locator(".version").nth(1).focus()
    press("Space")  # chooses, as on any button
    assert player.pressed() == ["After"] and not player.run("player.playing")
    press("Space")  # is chosen already
    player.wait("player.playing")
    player.box.get_by_role("switch").focus()
    press("Space")
    assert player.run("[player.matched, player.playing]") == [False, True]
    player.box.locator(".play").focus()
    press("Space")
    assert not player.run("player.playing")


def test_keys_of_the_browser_and_of_other_fields_are_left_alone(player: Driver) -> None:
    player.show("three")
    player.timeline.focus()
    player.page.keyboard.press("Control+l")
    player.page.keyboard.press("Alt+ArrowRight")
    assert player.run("[player.looping, player.position]") == [False, 0]
    player.box.get_by_role("slider", name="player.volume").focus()
    player.page.keyboard.press("ArrowLeft")
    assert player.run("player.volume") < 1 and player.run("player.position") == 0


def test_every_control_is_reached_by_tab_and_shows_its_focus(player: Driver) -> None:
    player.show("three")
    player.run("player.setRegion(1, 2)")
    player.box.locator(".play").focus()
    reached = []
    for _ in range(11):
        reached.append(
            player.page.evaluate(
                "() => { const at = document.activeElement; return [at.ariaLabel || at.innerText, "
                "getComputedStyle(at).outlineStyle === 'solid' && getComputedStyle(at).outlineWidth !== '0px']; }"
            )
        )
        player.page.keyboard.press("Tab")
    names = " | ".join(str(name) for name, _ in reached)
    wanted = "play match Before After Removed position loop set-start set-end clear-loop volume"
    for expected, (name, _) in zip(wanted.split(), reached, strict=True):
        assert expected in name, names
    assert all(outlined for _, outlined in reached[1:]), reached  # the first was focused by the test


def test_clicking_a_lane_goes_there_and_hears_it(player: Driver) -> None:
    player.show("three")
    box = player.timeline.bounding_box()
    player.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + (box["height"] - 20) / 2)
    assert player.run("player.position") == pytest.approx(1.5, abs=0.01)
    assert player.pressed() == ["After"]


def test_dragging_sets_a_loop_and_its_edges_can_be_moved(player: Driver) -> None:
    player.show("three")
    box = player.timeline.bounding_box()
    mouse, y = player.page.mouse, box["y"] + 20

    def drag(start: float, end: float) -> None:
        mouse.move(box["x"] + start / 3 * box["width"], y)
        mouse.down()
        mouse.move(box["x"] + (start + end) / 6 * box["width"], y)
        mouse.move(box["x"] + end / 3 * box["width"], y)
        mouse.up()

    drag(2.0, 1.0)
    assert player.run("player.region") == pytest.approx({"from": 1.0, "to": 2.0}, abs=0.01)
    assert player.run("player.looping")
    drag(2.0, 2.5)
    assert player.run("player.region") == pytest.approx({"from": 1.0, "to": 2.5}, abs=0.01)
    player.box.get_by_role("button", name="player.clear-loop").click()
    assert player.run("[player.region, player.looping]") == [None, False]


def test_a_loop_that_sounds_stays_in_its_region(player: Driver) -> None:
    player.show("three")
    player.run("[player.setRegion(1.0, 1.2), player.play()]")
    player.wait("player.playing")
    starts = player.run(
        """await new Promise((resolve) => {
          const positions = [], time = (event) => {
            positions.push(event.detail.position);
            if (positions.filter((p, i) => i && p < positions[i - 1]).length >= 2) resolve(positions);
          };
          element.addEventListener('denoise:time', time);
        })"""
    )
    assert min(starts) >= 1.0 - 1e-6 and max(starts) <= 1.2 + 1e-6


def test_what_is_heard_is_said(player: Driver) -> None:
    player.show("three")
    player.timeline.focus()
    player.page.keyboard.press("3")
    assert player.spoken().startswith("player.said-version Removed")
    first = player.spoken()
    player.page.keyboard.press("3")
    assert player.spoken() == first
    player.page.keyboard.press("m")
    assert player.spoken().startswith("player.said-match-off")
    player.page.keyboard.press("Space")
    player.wait("player.playing")
    assert player.spoken().startswith("player.said-playing Removed")
    player.run("player.seek(2.9)")
    player.wait("!player.playing")
    assert player.spoken().startswith("player.said-end")


def test_roles_and_values(player: Driver) -> None:
    player.show("three")
    player.run("player.seek(1.5)")
    assert player.box.get_by_role("region", name="player.name").count() == 1
    assert player.box.get_by_role("group", name="player.versions").get_by_role("button").count() == 3
    slider = player.box.get_by_role("slider", name="player.position")
    assert [slider.get_attribute(f"aria-value{name}") for name in ("min", "max", "now")] == ["0", "3.0", "1.5"]
    assert "0:01.5" in slider.get_attribute("aria-valuetext") and "0:03.0" in slider.get_attribute("aria-valuetext")


def test_speaks_the_language_of_the_browser_and_fits_a_phone(browser: Any, address: str) -> None:
    with opened(browser, address, 390, "zh-CN") as page:
        player = Driver(page)
        player.show("three")
        assert player.box.locator(".label").all_inner_texts() == ["降噪前", "After", "Removed"]
        assert player.box.get_by_role("region", name="中 player.name").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        box = player.box.bounding_box()
        for control in player.box.locator("button:visible, input:visible, .timeline").all():
            place = control.bounding_box()
            assert place["x"] + place["width"] <= box["x"] + box["width"]


# ------------------------------------------------------------------------------------------------------- other sounds


def test_one_sample_is_a_recording_too(player: Driver) -> None:
    player.show("point")
    assert player.rendered(1 / RATE).tolist() == [[0.25]]
    player.box.locator(".play").click()
    player.wait("!player.playing && player.context")
    assert player.run("player.state") == "ready"


def test_a_new_value_of_the_same_recording_goes_on_where_it_was(player: Driver, sounds: Sounds) -> None:
    player.show("three")
    player.run("[player.select('removed'), player.setRegion(1.0, 2.5), player.seek(1.0), player.play()]")
    player.wait("player.playing && player.position > 1.02")
    player.show("three again")
    assert player.run("[player.playing, player.version]") == [True, "removed"]
    assert 1.0 <= player.run("player.position") < 2.5
    assert player.run("player.versions") == ["before", "stronger", "removed"]
    player.run("[player.clearRegion(), player.setMatched(false)]")
    assert np.array_equal(player.rendered(1, version="stronger"), sounds.samples("stronger")[:, :RATE])


def test_versions_that_come_later_leave_it_playing_and_the_tenth_has_the_key_0(player: Driver, sounds: Sounds) -> None:
    player.show("three")
    player.run("[player.select('removed'), player.setLooping(true), player.seek(1.0), player.play()]")
    player.wait("player.playing && player.position > 1.02")
    player.show("ten")
    assert player.run("[player.playing, player.version, player.versions.length]") == [True, "removed", 10]
    player.timeline.focus()
    player.page.keyboard.press("0")
    player.wait("player.version === 'more6'")
    assert np.array_equal(player.rendered(1, version="more6"), sounds.samples("stronger")[:, :RATE])
    assert np.array_equal(player.rendered(1, version="after"), sounds.samples("after")[:, :RATE])
    assert player.box.locator(".version kbd").last.text_content() == "0"


@pytest.mark.parametrize("width", [390, 1000])
def test_versions_beyond_the_number_keys_are_chosen_by_click_and_tab(browser: Any, address: str, width: int) -> None:
    with opened(browser, address, width, "en-US") as page:
        player = Driver(page)
        player.show("seventeen")
        player.timeline.focus()
        page.keyboard.press("0")
        player.wait("player.version === 'more9'")
        buttons, keys = player.box.locator(".version"), player.box.locator(".version kbd")
        assert keys.all_text_contents() == [*"1234567890", *[""] * 7]
        assert keys.nth(10).is_hidden()
        assert np.ptp([label.bounding_box()["x"] for label in player.box.locator(".label").all()]) < 2  # px
        helped = player.box.locator(".keys")
        assert "1–0 player.key-switch-first" in helped.text_content() and helped.is_visible() == (width > 390)
        page.keyboard.press("1")
        buttons.nth(10).click()
        player.wait("player.version === 'more10'")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        player.wait("player.version === 'more11'")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        box = player.timeline.bounding_box()
        assert [round(button.bounding_box()["y"] - box["y"]) for button in buttons.all()] == [
            2 + 44 * k for k in range(17)
        ]


def test_another_recording_starts_over_and_stays_silent(player: Driver) -> None:
    player.show("three")
    player.run("[player.setRegion(1.0, 2.0), player.play()]")
    player.wait("player.playing")
    player.show("stereo")
    assert player.run("[player.playing, player.position, player.region, player.looping]") == [False, 0, None, False]
    player.run("player.play()")
    player.wait("player.playing")
    player.show("nothing")
    assert player.run("[player.playing, player.state, player.context]") == [False, "empty", None]
    assert player.box.get_by_role("status").text_content().startswith("player.empty")
    assert player.box.locator(".play").is_hidden()


def test_a_player_that_leaves_the_page_is_silent_and_comes_back(browser: Any, address: str) -> None:
    with opened(browser, address, 1000, "en-US") as page:
        player = Driver(page)
        player.show("three")
        page.evaluate("document.querySelector('#first .denoise-player').parentElement.denoisePlayer.play()")
        player.wait("player.playing && (window.kept = player)")
        page.get_by_role("button", name="hide", exact=True).click()
        page.wait_for_function("window.kept.context === null")
        page.get_by_role("button", name="unhide", exact=True).click()
        page.wait_for_function(PLAYERS_ARE_THERE)
        player.wait("player.state === 'ready' && !player.playing")


def test_a_long_file_is_held_by_windows(player: Driver, sounds: Sounds) -> None:
    asked: list[dict[str, Any]] = []

    def note(request: Any) -> None:
        if request.url.endswith("player/samples"):
            asked.append(request.post_data_json)

    player.page.on("request", note)
    player.show("long")
    player.run("player.setMatched(false)")

    def fetched() -> int:
        """Frames of the first version that were asked for since the last call."""
        blocks = list(asked)
        asked.clear()
        return sum(block["frames"] for block in blocks if block["version"] == 0)

    def plays_the_file_at(start: float) -> None:
        heard = player.rendered(1, start=start, version="long-after")[:, -LONG_RATE // 2 :]
        end = round((start + 1) * LONG_RATE)
        assert np.array_equal(heard, sounds.samples("long-after")[:, end - LONG_RATE // 2 : end])

    assert player.run("player.seconds") == LONG_SECONDS
    assert player.run("player.window") == {"start": 0, "seconds": 120}
    assert fetched() == 120 * LONG_RATE
    for start in (60, 65, 118):  # in the first block, across its end, in the second
        plays_the_file_at(start)
    player.timeline.focus()
    player.run("player.seek(200)")  # outside what is loaded
    player.wait("player.state === 'ready' && player.window.start === 188")
    assert player.run("player.position") == 200
    assert fetched() == 120 * LONG_RATE
    plays_the_file_at(200)
    strip = player.box.get_by_role("slider", name="player.window")
    strip.focus()
    player.page.keyboard.press("Home")
    player.wait("player.state === 'ready' && player.window.start === 0")
    player.page.keyboard.press("ArrowRight")
    player.wait("player.state === 'ready' && player.window.start === 60")
    box = strip.bounding_box()
    player.page.mouse.click(box["x"] + 0.99 * box["width"], box["y"] + 5)
    player.wait("player.state === 'ready' && player.window.start === 280")
    plays_the_file_at(390)


def test_playing_goes_on_into_the_next_window(player: Driver) -> None:
    player.show("long")
    player.run("[player.seek(119.7), player.play()]")
    player.wait("player.playing && player.window.start === 120 && player.position > 120.05")
    player.run("player.pause()")


def test_a_file_that_is_gone_has_a_sentence_and_the_others_play(player: Driver, sounds: Sounds) -> None:
    player.show("with missing")
    assert player.run("player.state") == "ready"
    assert player.box.get_by_role("status").text_content().startswith("Gone: player.error-gone")
    assert player.box.locator(".version").first.is_disabled()
    assert player.pressed() == ["Before"]
    assert np.array_equal(player.rendered(1), sounds.samples("before")[:, :RATE])


def test_when_nothing_is_left_it_says_so_and_can_be_used_again(player: Driver) -> None:
    player.show("all missing")
    assert player.run("player.state") == "error"
    assert player.box.get_by_role("status").text_content().startswith("player.error-gone")
    player.show("three")
    assert player.run("player.state") == "ready"


def test_a_server_that_does_not_answer_has_a_sentence_and_play_tries_again(player: Driver) -> None:
    player.page.route("**/player/samples", lambda route: route.abort())
    player.show("three")
    assert player.box.get_by_role("status").text_content().startswith("player.error-unreachable")
    player.page.unroute("**/player/samples")
    player.box.locator(".play").click()
    player.wait("player.state === 'ready'")


# ------------------------------------------------------------------------------------------------ several on one page


def test_two_players_do_not_disturb_each_other(page: Any, sounds: Sounds) -> None:
    first, second = Driver(page, "first"), Driver(page, "second")
    first.show("three")
    second.show("triplets")
    first.timeline.focus()
    page.keyboard.press("2")
    page.keyboard.press("ArrowRight")
    assert second.run("[player.version, player.position]") == ["a", 0]
    first.run("player.play()")
    first.wait("player.playing")
    second.run("player.play()")
    second.wait("player.playing")
    assert not first.run("player.playing")  # one is heard at a time
    second.run("player.pause()")
    assert np.array_equal(second.rendered(1, version="b"), sounds.samples("before")[:, :RATE])


def test_the_page_can_follow_and_move_the_position(page: Any) -> None:
    first, second = Driver(page, "first"), Driver(page, "second")
    first.show("three")
    second.show("three")
    page.evaluate("document.addEventListener('denoise:time', ({detail}) => { window.last = detail; })")
    send = "dispatchEvent(new CustomEvent('denoise:seek', {detail: {position: %s, player: %s}}))"
    page.evaluate("document.querySelector('#first')." + send % ("1.5", "undefined"))
    assert page.evaluate("window.last") == {
        "position": 1.5, "seconds": 3, "playing": False, "version": "before", "player": "first",
    }  # fmt: skip
    assert [one.run("player.position") for one in (first, second)] == [1.5, 0]
    page.evaluate("document." + send % ("2.5", "'second'"))
    assert [one.run("player.position") for one in (first, second)] == [1.5, 2.5]
    page.evaluate("document." + send % ("0.5", "undefined"))
    assert [one.run("player.position") for one in (first, second)] == [0.5, 0.5]
    first.run("player.play()")
    first.wait("window.last.playing && window.last.position > 0.55")
