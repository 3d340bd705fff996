"""Denoisers with nothing learnt."""

from __future__ import annotations

from collections.abc import Callable

from denoise_app.denoiser import StreamingDenoiser

from .bandpass import BandPass
from .mmse_lsa import MmseLsa
from .modulation_subtraction import ModulationSubtraction
from .nlms import Nlms
from .spectral_subtraction import SpectralSubtraction
from .wiener import Wiener

CLASSICAL: dict[str, Callable[[], StreamingDenoiser]] = {
    "band-pass": BandPass,
    "spectral-subtraction": SpectralSubtraction,
    "modulation-subtraction": ModulationSubtraction,
    "wiener": Wiener,
    "mmse-lsa": MmseLsa,
    "nlms": Nlms,
}
