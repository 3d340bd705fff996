"""The errors of this package and their English sentences."""

from __future__ import annotations

from denoise_app.audio.errors import AudioError

SENTENCES: dict[str, str] = {
    "no-device": "The device {device} cannot be used here: {problem} Choose cpu, or leave the choice open with auto.",
    "no-reference-denoiser": "This denoiser makes no use of a noise reference. Choose nlms, or treat each channel on "
    "its own.",
    "reference-needs-two-channels": "A noise reference needs two channels, the second with the noise alone; this sound "
    "has {channels}. Treat each channel on its own, or choose another sound.",
    "start-beyond-end": "The part begins at {start:g} s, but the sound lasts {seconds:.1f} s. Choose an earlier "
    "beginning.",
    "no-profile-denoiser": "This denoiser makes no use of a noise profile. Choose one of {known}, or leave the profile "
    "out.",
    "profile-beyond-end": "The noise profile is to be taken from {start:g} s to {end:g} s, but the sound lasts "
    "{seconds:.1f} s. Choose an earlier stretch.",
    "profile-too-short": "A noise profile needs a stretch of at least {least:g} s; this one lasts {seconds:.2g} s. "
    "Choose a longer one, half a second or more.",
    "profile-silent": "The stretch for the noise profile holds nothing but digital silence. Choose one in which only "
    "the noise is heard.",
    "profile-clipped": "The stretch for the noise profile is clipped, which is not the noise alone. Choose one in "
    "which only the noise is heard.",
    "not-computable": "The denoiser made values of this sound that are not numbers. Choose another model, or lower the "
    "sound's level where it goes far beyond full scale.",
    "not-causal": "This denoiser is not causal: it needs later samples, so it cannot run on a stream. Choose a causal "
    "one, such as the preset live.",
    "chunk-not-finite": "The sound that came in holds values that are not numbers (NaN or infinity). It was left out.",
    "onto-input": "{target} is an input itself: choose another folder for the output.",
    "strict": "Nothing is written, as notes count as failures here: {notes}",
    # settings
    "bad-strength": "The strength needs a number from {low:g} to {high:g} %.",
    "strength-in-percent": "Strength is in percent, from 0 to 100: {given:g} would be {given:g} %. "
    "Say {percent:g} for {percent:g} %.",
    "bad-attenuation": "The most attenuation needs a number of {low:g} dB or more.",
    "bad-loudness": "The loudness to bring the result to needs a number from {low:g} to {high:g} LUFS.",
    "bad-true-peak": "The true peak to stay below needs a number from {low:g} to {high:g} dBTP.",
    "bad-bit-depth": "The bit depth needs a whole number from {low:g} to {high:g}.",
    "bad-track": "The track needs a whole number from {low:g} to {high:g}.",
    "bad-time": "A time needs a number of seconds, {low:g} or more.",
    "no-time": "{text} is no time. Give seconds, or minutes and seconds as 1:15.5.",
    "empty-stretch": "A stretch ends after it begins: {start:g} s to {end:g} s is none.",
    "bad-profile": "A noise profile needs two times in seconds: from and to.",
    "bad-high-band": "The band above the denoiser's is treated by one of: {known}.",
    "bad-channels": "Channels are treated by one of: {known}.",
}
"""Reason -> the English sentence, with the names of its facts in braces."""


class EngineError(AudioError):
    """A sound that cannot be processed as asked.

    >>> str(EngineError.of("onto-input", target="a.wav"))
    'a.wav is an input itself: choose another folder for the output.'
    """

    sentences = SENTENCES


class SettingError(EngineError):
    """A setting that cannot be what it is.

    >>> str(SettingError.of("strength-in-percent", given=0.8, percent=80))
    'Strength is in percent, from 0 to 100: 0.8 would be 0.8 %. Say 80 for 80 %.'
    """
