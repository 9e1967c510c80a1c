"""Lists of packs out of the parts that frames hold them in.

A pack's cells may come in several bodies of a frame or in several frames of one moment, each with
the number of its first cell; they are put in their places. What cannot be placed is left out and
told: a first cell 0, more cells than the contract allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from openvrc.contracts.gbt32960.bulk import Ints, Part
from openvrc.contracts.gbt32960.nodes import Validity
from openvrc.contracts.quality import signal_bit, statement_bit

Floats = npt.NDArray[np.float32]
PACK_NUMBERS = 256
_MISPLACED = statement_bit("list_misplaced")


@dataclass(frozen=True)
class PackLists:
    """Lists of (moment, pack), sorted by key."""

    keys: Ints  # (k,) moment * PACK_NUMBERS + pack number, ascending
    values: Floats
    lengths: Ints  # (k,)
    bits: Ints  # (k,) quality
    voltage_raw: Ints  # (k,) -1 where the body has none
    current_raw: Ints  # (k,)


def gather(
    parts: Sequence[Part], moment_of_row: Ints, signal: str, most: int, most_of_moment: int
) -> PackLists:
    """One list for each pack of each moment; `most` elements a pack, `most_of_moment` in all."""
    if not parts:
        empty = np.empty(0, np.int64)
        return PackLists(empty, np.empty(0, np.float32), empty, empty, empty, empty)
    keys = _keys(parts, moment_of_row)
    firsts = [_first(part) for part in parts]
    unique, place = np.unique(np.concatenate(keys), return_inverse=True)
    places = np.split(place, np.cumsum([len(k) for k in keys])[:-1])
    lengths = np.zeros(len(unique), np.int64)
    for part, first, at in zip(parts, firsts, places, strict=True):
        np.maximum.at(lengths, at, first - 1 + part.raw.shape[1])
    bits = np.zeros(len(unique), np.int64)
    for part, first, at in zip(parts, firsts, places, strict=True):
        bits[at[first < 1]] |= _MISPLACED
        if part.state is not Validity.VALID:
            bits[at] |= signal_bit(signal, part.state.name.lower())
    is_dropped = (lengths > most) | (_in_moment(unique, lengths) > most_of_moment)
    bits[is_dropped] |= _MISPLACED
    lengths[is_dropped] = 0
    starts = np.cumsum(lengths) - lengths
    values = np.full(int(lengths.sum()), np.nan, np.float32)
    for part, first, at in zip(parts, firsts, places, strict=True):
        keep = (first >= 1) & ~is_dropped[at]
        _place(part, keep, starts[at] + first - 1, values, bits, at, signal)
    return PackLists(
        unique, values, lengths, bits, *(_of_pack(parts, places, len(unique), n) for n in _SCALARS)
    )


_SCALARS = ("voltage_v", "current_a")
FIRST_PACK = 1
_NO_NUMBER = (0, 0xFE, 0xFF)


def _keys(parts: Sequence[Part], moment_of_row: Ints) -> list[Ints]:
    """Keys of each part's rows.

    A pack numbered 0, or not at all, is the first one of a moment that has no other first one.
    """
    numbers = [part.pack["number"] for part in parts]
    moments = [moment_of_row[part.rows] for part in parts]
    number, moment = np.concatenate(numbers), np.concatenate(moments)
    is_odd = np.isin(number, _NO_NUMBER)
    if is_odd.any():
        is_odd &= ~np.isin(moment, moment[number == FIRST_PACK])
        number = np.where(is_odd, FIRST_PACK, number)
    return np.split(moment * PACK_NUMBERS + number, np.cumsum([len(n) for n in numbers])[:-1])


def _first(part: Part) -> Ints:
    """Number of each row's first element; the 2025 edition and temperatures begin at 1."""
    return part.pack.get("first_cell", np.ones(len(part.rows), np.int64))


def _in_moment(keys: Ints, lengths: Ints) -> Ints:
    """(k,) elements of all packs of the same moment."""
    _, moment = np.unique(keys // PACK_NUMBERS, return_inverse=True)
    return np.bincount(moment, lengths).astype(np.int64)[moment]


def _of_pack(parts: Sequence[Part], places: Sequence[Ints], n: int, name: str) -> Ints:
    found = np.full(n, -1, np.int64)
    for part, at in zip(parts, places, strict=True):
        if name in part.pack:
            found[at] = part.pack[name]
    return found


def _place(
    part: Part,
    keep: npt.NDArray[np.bool_],
    starts: Ints,
    values: Floats,
    bits: Ints,
    at: Ints,
    signal: str,
) -> None:
    raw, element = part.raw, part.element
    if not raw.size:
        return
    if not keep.all():
        raw, starts, at = raw[keep], starts[keep], at[keep]
        if not raw.size:
            return
    scaled = raw.astype(np.float32)
    if element.zero:
        scaled -= np.float32(element.zero)
    if element.over != 1:
        scaled /= np.float32(element.over)
    if int(raw.max()) > element.top:
        _blank_codes(part, raw, scaled, bits, at, signal)
    values[starts[:, None] + np.arange(raw.shape[1])] = scaled


def _blank_codes(
    part: Part, raw: npt.NDArray[np.uint16], scaled: Floats, bits: Ints, at: Ints, signal: str
) -> None:
    element = part.element
    is_bad = raw > element.top
    scaled[is_bad] = np.nan
    is_abnormal, is_invalid = raw == element.abnormal, raw == element.invalid
    states = {
        "abnormal": is_abnormal,
        "invalid": is_invalid,
        "out_of_range": is_bad & ~is_abnormal & ~is_invalid,
    }
    for state, mask in states.items():
        has = mask.any(axis=1)
        if has.any():
            np.bitwise_or.at(bits, at[has], signal_bit(signal, state))
