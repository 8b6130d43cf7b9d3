"""A secured call: what it needs, how far it reaches, and how much of the time it can last."""

import math

import pytest

from fullduplex.base.errors import InputError
from fullduplex.links.call import Call, reaches, talk_share
from fullduplex.links.chains import Station, chain_rate, even_chain


def test_a_direct_call_at_one_gigahertz() -> None:
    """48 kbit/s of key at 1 GHz is 4.8e-5 bits a use: -log2(1 - eta) = 4.8e-5 at eta = 3.327e-5, 44.78 dB, 223.9 km."""
    call = Call(bits_per_s=24_000, clock_hz=1e9)
    assert call.key_bits_per_s == 48_000
    assert call.key_bits_per_use == pytest.approx(4.8e-5)
    (direct,) = reaches(call, [0])
    assert direct.longest_km is not None
    eta = 1 - 2**-4.8e-5
    assert direct.longest_km == pytest.approx(-10 * math.log10(eta) / 0.2, rel=1e-9)
    assert direct.longest_km == pytest.approx(223.9, abs=0.05)
    assert talk_share(call, chain_rate(even_chain(0.2 * direct.longest_km, 0))) == pytest.approx(1.0)


def test_ideal_stations_multiply_the_reach_and_lossy_ones_take_their_loss_off_every_span() -> None:
    call = Call(bits_per_s=24_000, clock_hz=1e9)
    direct, one, five = (row.longest_km for row in reaches(call, [0, 1, 5]))
    assert direct is not None
    assert (one, five) == (pytest.approx(2 * direct), pytest.approx(6 * direct))
    assert five is not None
    (lossy,) = reaches(call, [5], Station(receive_db=2.0))
    # Five of the six links end in a station; 2 dB are 10 km.
    assert lossy.longest_km == pytest.approx(6 * direct - 5 * 10)
    (hopeless,) = reaches(call, [5], Station(receive_db=60.0))
    assert hopeless.longest_km is None


def test_half_the_clock_is_half_the_talk() -> None:
    rate = chain_rate(even_chain(60.0, 1))
    fast = talk_share(Call(bits_per_s=24_000, clock_hz=1e9), rate)
    slow = talk_share(Call(bits_per_s=24_000, clock_hz=5e8), rate)
    assert slow == pytest.approx(fast / 2)
    assert talk_share(Call(bits_per_s=24_000, clock_hz=1e9, directions=1), rate) == pytest.approx(2 * fast)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bits_per_s": 0}, "bits_per_s"),
        ({"bits_per_s": math.nan}, "bits_per_s"),
        ({"clock_hz": -1}, "clock_hz"),
        ({"clock_hz": math.inf}, "clock_hz"),
        ({"directions": 3}, "directions"),
    ],
)
def test_bad_calls_are_refused(change: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Call(**{"bits_per_s": 24_000, "clock_hz": 1e9, **change})  # pyright: ignore[reportArgumentType]
