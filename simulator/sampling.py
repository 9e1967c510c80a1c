"""Randomness that depends on names and times only, never on the order of calls.

A replay must give the same bytes whether a vehicle is seen in one frame or another, so noise,
loss and shares are hashes instead of draws from one generator. Names hash with BLAKE2b; pairs of
numbers mix with the finaliser of SplitMix64 (Steele et al. 2014, doi:10.1145/2660193.2660195).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
HashArray = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def name_hash(seed: int, purpose: str, name: str) -> int:
    """64 bits of BLAKE2b over "{seed}/{purpose}/{name}"."""
    text = f"{seed}/{purpose}/{name}".encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def name_hashes(seed: int, purpose: str, names: Sequence[str]) -> HashArray:
    """`name_hash` of every name, (n_names,)."""
    return np.array([name_hash(seed, purpose, name) for name in names], np.uint64)


def share_of(seed: int, purpose: str, names: Sequence[str]) -> FloatArray:
    """A uniform number in [0, 1) for every name, (n_names,): `hash >> 11` times 2**-53.

    A name takes part in a share p if its number is below p, so a larger share contains every
    smaller one.

    >>> share_of(1, "penetration", ["veh-001"]).round(4).tolist()
    [0.6244]
    """
    return uniform(name_hashes(seed, purpose, names))


def mixed(names: HashArray, numbers: NDArray[np.int64]) -> HashArray:
    """One hash of each pair (name, number), (n,)."""
    with np.errstate(over="ignore"):
        state = names + numbers.astype(np.uint64) * _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return np.asarray(state ^ (state >> np.uint64(31)), np.uint64)


def uniform(hashes: HashArray) -> FloatArray:
    """Uniform in [0, 1), from the upper 53 bits."""
    return np.asarray((hashes >> np.uint64(11)) * 2.0**-53)


def normal_pair(names: HashArray, numbers: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
    """Two independent standard normal numbers for each pair (name, number), after Box-Muller."""
    first = mixed(names, numbers)
    second = mixed(first, numbers)
    radius = np.sqrt(-2.0 * np.log1p(-uniform(first)))
    angle = 2.0 * np.pi * uniform(second)
    return radius * np.cos(angle), radius * np.sin(angle)
