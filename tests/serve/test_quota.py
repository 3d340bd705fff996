"""How much sound a client may have under way."""

from __future__ import annotations

import pytest

from denoise_app.serve.errors import ServiceError
from denoise_app.serve.quota import Quota


def test_a_client_has_so_many_minutes_and_others_have_their_own() -> None:
    quota = Quota(10)
    with quota.taken("one", 360), quota.taken("one", 240), quota.taken("other", 600):
        with pytest.raises(ServiceError, match="10 minutes of") as refused, quota.taken("one", 60):
            raise AssertionError("it was taken")
        assert "with this it would be 11" in str(refused.value)
        assert refused.value.reason == "too-much-sound"
        assert quota.under_way() == 1200


def test_what_ends_however_it_does_is_given_back() -> None:
    quota = Quota(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), quota.taken("one", 60):
            raise ZeroDivisionError
    assert quota.under_way() == 0


def test_what_is_refused_takes_nothing() -> None:
    quota = Quota(1)
    for _ in range(3):
        with pytest.raises(ServiceError), quota.taken("one", 61):
            raise AssertionError("it was taken")
    with quota.taken("one", 60):
        assert quota.under_way() == 60


def test_clients_that_have_nothing_under_way_are_forgotten() -> None:
    quota = Quota(1)
    for number in range(100):
        with quota.taken(f"client {number}", 0.1), quota.taken(f"client {number}", 0.2):
            pass
    assert not quota._seconds
