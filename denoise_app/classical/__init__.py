"""Denoisers with nothing learnt."""
