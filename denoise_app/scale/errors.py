"""Why work on many files cannot go on."""

from __future__ import annotations

from denoise_app.audio.errors import AudioError

SENTENCES: dict[str, str] = {
    "not-a-manifest": "{name} is no manifest of a batch, and is left as it is. Name another file.",
    "manifest-in-use": "{name} is being written by another run. Wait for its end, or name another file.",
    "worker-lost": "The process that denoised {name} was killed twice ({status}). It may need more memory than "
    "there is: try it alone, or with fewer processes.",
    "workers-fail": "The processes end before they can begin ({status}). Try fewer of them.",
    "no-ray": "A batch on a cluster needs the package ray. Install it by pip install 'denoise-app[ray]'.",
    "cluster-silent": "The cluster did not answer for {seconds} s, with {left} files left. Look whether its nodes are "
    "up; what is done is kept, and --resume goes on.",
    "cluster-fails": "The cluster cannot be used: {problem}. What is done is kept, and --resume goes on.",
    "too-many-files": "{count} files are more than the {limit} of one batch. Take fewer, or use the command line.",
    "batch-too-large": "All files together have {size}; at most {limit} go into one batch. Take fewer.",
    "zip-damaged": "{name} is no zip file that can be read: {problem}. Make it again.",
    "zip-too-many": "{name} has more than {limit} entries. Make several smaller ones.",
    "zip-bomb": "{name} would unpack to {size}, more than {limit} times its own size. It was not unpacked.",
    "zip-encrypted": "{name} is encrypted. Make the zip without a password.",
    "zip-outside": "{name} names a place outside the zip, and was left out.",
    "zip-nested": "{name} is an archive within the zip, which is not opened. Upload it by itself.",
    "no-remote": "{name} lies elsewhere: that needs the package {package}. Install it by pip install "
    "'denoise-app[remote]'.",
    "no-place": "Results cannot be put at {name}. Name a folder, or an address such as s3://bucket/folder.",
    "remote-missing": "There is no file {name}. Check the name, and who may read it.",
    "remote-fails": "{name} cannot be reached: {problem}. It was tried {tries} times; run the same command again.",
}
"""Reason -> the English sentence of every error of this room, with the names of its facts in braces."""


class ScaleError(AudioError):
    """A batch, or one of its files, that cannot be done for a reason beside its sound.

    >>> str(ScaleError.of("not-a-manifest", name="talk.wav"))
    'talk.wav is no manifest of a batch, and is left as it is. Name another file.'
    """

    sentences = SENTENCES
