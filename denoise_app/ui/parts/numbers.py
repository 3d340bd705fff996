"""Numbers as people read them."""

from __future__ import annotations

import math
import re

from denoise_app.audio.clip import FileInfo
from denoise_app.metrics.table import Metric
from denoise_app.ui.texts import ENGLISH, Say

MINUS = "\u2212"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def clock(seconds: float) -> str:
    """Minutes and seconds, hours where there are some.

    >>> clock(8.04), clock(75), clock(3725)
    ('0:08.0', '1:15', '1:02:05')
    """
    if seconds < 60:
        tenths = math.floor(seconds * 10)
        return f"0:{tenths // 10:02}.{tenths % 10}"
    whole = math.floor(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{whole % 60:02}"


def moment(seconds: float) -> str:
    """A time to the hundredth of a second.

    >>> moment(1.25), moment(75.5), moment(3725)
    ('0:01.25', '1:15.50', '1:02:05.00')
    """
    hundredths = round(seconds * 100)
    whole = hundredths // 100
    hours, minutes = whole // 3600, whole // 60 % 60
    return (f"{hours}:{minutes:02}" if hours else f"{minutes}") + f":{whole % 60:02}.{hundredths % 100:02}"


def duration(seconds: float) -> str:
    """A time that is still to be waited for, in whole seconds, rounded up.

    >>> duration(7.2), duration(59.9), duration(3600)
    ('8 s', '1:00', '1:00:00')
    """
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < 60 else clock(whole)


def signed(value: float, digits: int = 1) -> str:
    """A change, with a real minus sign; what rounds to nothing has no sign.

    >>> signed(2.04), signed(-0.04), signed(-3.0)
    ('+2.0', '0.0', '−3.0')
    """
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def plain(value: float, digits: int = 1) -> str:
    """A value, with a real minus sign.

    >>> plain(-23.04), plain(-0.01)
    ('−23.0', '0.0')
    """
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def milliseconds(value: float) -> str:
    """A delay, whole from 100 on.

    >>> milliseconds(0), milliseconds(5.333), milliseconds(21.3333), milliseconds(2816)
    ('0', '5.33', '21.3', '2816')
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def rate(hertz: int) -> str:
    """
    >>> rate(48000), rate(44100), rate(22050)
    ('48 kHz', '44.1 kHz', '22.05 kHz')
    """
    return f"{hertz / 1000:g} kHz"


def hertz(frequency: float) -> str:
    """
    >>> hertz(62.5), hertz(500.0), hertz(8000.0)
    ('62.5 Hz', '500 Hz', '8 kHz')
    """
    return f"{frequency / 1000:g} kHz" if frequency >= 1000 else f"{frequency:g} Hz"


def size(count: float) -> str:
    """A count with a letter for thousands and millions.

    >>> size(812), size(193_000), size(2_100_000)
    ('812', '193 k', '2.1 M')
    """
    if count < 1000:
        return f"{count:.0f}"
    for limit, letter in ((1e6, "k"), (1e9, "M")):
        if count < limit:
            value = count / (limit / 1000)
            return f"{value:.0f} {letter}" if value >= 100 else f"{value:.3g} {letter}"
    return f"{count / 1e9:.3g} G"


def channels(count: int, say: Say) -> str:
    """Mono, stereo, or how many."""
    return say(f"channels.{count}") if count in (1, 2) else say("channels.many", count=count)


def bits(info: FileInfo, say: Say) -> str:
    """The bit depth, or that there is none."""
    if info.bit_depth is None:
        return say("bits.lossy")
    return say("bits.float" if info.codec in ("FLOAT", "DOUBLE") else "bits.whole", bits=info.bit_depth)


def kind(info: FileInfo, say: Say) -> str:
    """Rate, channels and bits in a row: what the fidelity line is about."""
    return " · ".join((rate(info.sample_rate), channels(info.channels, say), bits(info, say)))


# ------------------------------------------------------------------------------------------------------------- metrics


def title(say: Say, metric: Metric) -> str:
    """What the page calls a metric."""
    return say(f"title.{metric.key}")


def unit(say: Say, metric: Metric) -> str:
    """A metric's unit; empty for a plain number."""
    return say(f"unit.{metric.unit.lower() or 'none'}")


def title_and_unit(say: Say, metric: Metric) -> str:
    """For an axis or a choice: "SI-SDR (dB)"."""
    return f"{title(say, metric)} ({unit(say, metric)})" if unit(say, metric) else title(say, metric)


def value(metric: Metric, number: float) -> str:
    """A metric's value with its digits."""
    return power(number) if metric.digits is None else plain(number, metric.digits)


def change(metric: Metric, number: float) -> str:
    """How much a metric rose, or by minus how much it fell, with its digits."""
    return power(number) if metric.digits is None else signed(number, metric.digits)


def power(number: float) -> str:
    """A small number with its power of ten.

    >>> power(0.00123), power(-0.00123), power(0.0)
    ('1.2·10⁻³', '−1.2·10⁻³', '0')
    """
    if number == 0:
        return "0"
    digits, exponent = f"{number:.1e}".split("e")
    return f"{digits}·10{str(int(exponent)).translate(SUPERSCRIPTS)}".replace("-", MINUS)


def hours(value: float) -> str:
    """Hours of sound: whole ones where there are many.

    >>> [hours(value) for value in (55.41, 0.123, 7.06)]
    ['55', '0.12', '7.1']
    """
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def recordings(say: Say, about: str) -> str:
    """Which recordings scores are of, in the reader's language where it is the set that this program's board is of."""
    known = re.escape(ENGLISH["board.recordings"]).replace(re.escape("{count}"), r"(\d+)")
    found = re.fullmatch(known, about)
    return say("board.recordings", count=found[1]) if found else about
