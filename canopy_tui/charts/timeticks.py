"""Ticks of time axes: at whole minutes, hours and days, with labels as short as they can be told apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

_S = 1_000_000
_MINUTE, _HOUR, _DAY = 60 * _S, 3600 * _S, 86_400 * _S

_STRIDES = (
    *(factor * 10**power for power in range(6) for factor in (1, 2, 5)),
    *(n * _S for n in (1, 2, 5, 10, 15, 30)),
    *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)),
    *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
)
"""Microseconds between ticks: those that people count time in."""

_UNITS = ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "m"), (_MINUTE, "m", _S, "s"))
"""Size and letter of each unit of a span, and of the one below it."""

_CALENDAR_US = (-62_000_000_000 * _S, 250_000_000_000 * _S)
"""From the year 5 to the year 9892: times for which there is a date, whatever the zone."""


def stride(span_us: int, most: int) -> int:
    """The smallest usual stride that cuts ``span_us`` into less than ``most`` parts, in µs."""
    for candidate in _STRIDES:
        if span_us // candidate < most:
            return candidate
    candidate = 1000 * _DAY
    while span_us // candidate >= most:
        candidate *= 10
    return candidate


def relative_ticks(low_us: int, high_us: int, most: int) -> list[tuple[int, str]]:
    """(µs, label) of at most ``most`` ticks of a time since a start: ``0 s``, ``5 m``, ``1 h 30 m``."""
    step = stride(high_us - low_us, max(most, 1))
    first = -(-low_us // step)
    ticks = [at * step for at in range(first, high_us // step + 1)][:most] or [low_us]
    return [(us, span_label(us)) for us in ticks]


def span_label(us: int) -> str:
    """A span in its two largest units, the second only where it is not 0: ``200 ms``, ``1 h 30 m``."""
    if us < 0:
        return f"-{span_label(-us)}"
    if us < _S:
        return _decimal(us, 1000, "ms") if us else "0 s"
    if us < _MINUTE:
        return _decimal(us, _S, "s")
    for size, unit, below, small in _UNITS:
        if us >= size:
            whole, rest = divmod(us, size)
            return f"{whole} {unit}" + (f" {rest // below} {small}" if rest >= below else "")
    raise AssertionError(us)


def _decimal(us: int, size: int, unit: str) -> str:
    digits = f"{us % size:0{len(str(size)) - 1}d}".rstrip("0")
    return f"{us // size}{'.' + digits if digits else ''} {unit}"


def clock_ticks(
    low_us: int, high_us: int, most: int, zone: tzinfo | None = None
) -> tuple[list[tuple[int, str]], str]:
    """(µs since the epoch, label) of at most ``most`` ticks, and the date or year that they share.

    Labels are ``14:02``, ``14:02:30`` or, at midnight and on long axes, ``Nov 23``, in ``zone`` (None: where
    the machine is). Times that no calendar holds are given as a span since 1970.
    """
    if not (_CALENDAR_US[0] <= low_us and high_us <= _CALENDAR_US[1]):
        return relative_ticks(low_us, high_us, most), ""
    step = stride(high_us - low_us, max(most, 1))
    offset_us = _offset_us(low_us, zone)  # so that a tick at "every 6 hours" stands at 6:00 here
    first = -(-(low_us + offset_us) // step)
    ticks = [at * step - offset_us for at in range(first, (high_us + offset_us) // step + 1)][:most]
    found = [(us, _clock_label(_at(us, zone), step)) for us in ticks or [low_us]]
    end = _at(high_us, zone)
    return found, str(end.year) if step >= _DAY else f"{end:%b} {end.day}"


def _at(us: int, zone: tzinfo | None) -> datetime:
    exact = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return exact.astimezone(zone)


def _offset_us(us: int, zone: tzinfo | None) -> int:
    offset = _at(us, zone).utcoffset()
    return 0 if offset is None else offset // timedelta(microseconds=1)


def _clock_label(at: datetime, step: int) -> str:
    if step >= _DAY or (step >= _MINUTE and at.hour == at.minute == 0):
        return f"{at:%b} {at.day}"
    if step >= _MINUTE:
        return f"{at:%H:%M}"
    fraction = f"{at.microsecond:06d}".rstrip("0")
    return f"{at:%H:%M:%S}" + (f".{fraction}" if fraction else "")


def moment(us: float, zone: tzinfo | None = None) -> str:
    """A whole point in time, to the second: ``Nov 23 14:02:30``."""
    if not _CALENDAR_US[0] <= us <= _CALENDAR_US[1]:
        return span_label(int(us))
    at = _at(int(us), zone)
    return f"{at:%b} {at.day} {at:%H:%M:%S}"
