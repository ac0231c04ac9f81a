"""Random numbers that depend only on a seed and a position: the same in every run, for any number of workers."""

import numpy as np

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
_ROUNDS = 6


def mix(value: int) -> int:
    """SplitMix64's output for one integer."""
    z = (value + 1) * _GOLDEN_GAMMA % 2**64
    for shift, multiplier in _MIX:
        z = (z ^ (z >> shift)) * multiplier % 2**64
    return z


# Keys of the streams that datasets draw from. Two keys whose difference is a small multiple of SplitMix64's increment
# are the same stream, shifted; tests check that those of small seeds are far apart. Keys of test sequences must never
# change: published scores depend on them.


def motion_key(split: str, seed: int) -> int:
    """Key of generated sequences, such as moving digits."""
    return mix(mix(mix(seed))) if split == "train" else mix(seed) ^ mix(1)


def crop_key(seed: int) -> int:
    """Key of the crops and mirroring of training windows."""
    return mix(seed)


def order_key(seed: int) -> int:
    """Key of the order of windows."""
    return mix(mix(seed))


def _outputs(key, counter: np.ndarray) -> np.ndarray:
    """SplitMix64 as a counter-based generator: output number `counter` from the state `key`, all uint64."""
    z = counter * np.uint64(_GOLDEN_GAMMA) + key
    for shift, multiplier in _MIX:
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(multiplier)
    return z


def uniform(key: int, position: np.ndarray, draws: int) -> np.ndarray:
    """`draws` random numbers in [0, 1) for each position, float64 `(batch, draws)`.

    A NumPy generator has one seed for everything that it draws. Here each sequence depends only on its own number.

    Reference: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    counter = position.astype("uint64")[:, None] * np.uint64(draws) + np.arange(1, draws + 1, dtype="uint64")
    return (_outputs(np.uint64(key), counter) >> np.uint64(11)).astype("float64") * 2.0**-53


def permuted(position: np.ndarray, seed: int, count: int) -> np.ndarray:
    """The index in `[0, count)` at each position of an endless order that visits every index once per epoch.

    Position p belongs to epoch `p // count`; the order within an epoch is a function of the seed and the epoch. It may
    be long, so it is computed instead of stored: a Feistel network, keyed by the epoch, permutes the numbers below the
    next power of four, and is applied again to those outside the range.

    Args:
        position: int64 `(batch,)`, 0 or more.
        seed: any integer.
        count: number of indices, 1 or more.

    Reference: Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002.
    """
    bits = np.uint64(max((count - 1).bit_length() + 1, 2) // 2)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    epoch = (position // count).astype("uint64")
    numbers = epoch * np.uint64(_ROUNDS) + np.arange(_ROUNDS, dtype="uint64")[:, None]
    keys = _outputs(np.uint64(order_key(seed)), numbers)
    index = (position % count).astype("uint64")
    outside = np.ones(index.shape, "bool")
    while outside.any():
        left, right = index[outside] >> bits, index[outside] & mask
        for key in keys[:, outside]:
            left, right = right, left ^ (_outputs(key, right) & mask)
        index[outside] = (left << bits) | right
        outside = index >= count
    return index.astype("int64")
