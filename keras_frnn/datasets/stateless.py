"""Random numbers that depend on a seed and a position alone: the same in every run, on any number of workers."""

import numpy as np
import tensorflow as tf

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def mix(value: int) -> int:
    """SplitMix64's output for one integer."""
    z = (value + 1) * _GOLDEN_GAMMA % 2**64
    for shift, multiplier in _MIX:
        z = (z ^ (z >> shift)) * multiplier % 2**64
    return z


def uniform(key: int, position: tf.Tensor, draws: int) -> tf.Tensor:
    """`draws` numbers in [0, 1) for each position, float64 `(batch, draws)`: SplitMix64 as a counter-based generator.

    TensorFlow's stateless generators take one seed a call; a sequence that depends on its number alone needs one each.

    Reference: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    counter = tf.cast(position, "uint64")[:, None] * draws + np.arange(1, draws + 1, dtype="uint64")
    z = counter * tf.constant(_GOLDEN_GAMMA, "uint64") + tf.constant(key, "uint64")
    for shift, multiplier in _MIX:
        z = tf.bitwise.bitwise_xor(z, tf.bitwise.right_shift(z, tf.constant(shift, "uint64")))
        z = z * tf.constant(multiplier, "uint64")
    return tf.cast(tf.bitwise.right_shift(z, tf.constant(11, "uint64")), "float64") * 2.0**-53


def permuted(position: tf.Tensor, seed: int, count: int) -> tf.Tensor:
    """The index in `[0, count)` at each position of an endless order that goes through all indices once an epoch.

    Position p belongs to epoch `p // count`; the order within an epoch is a function of the seed and the epoch.

    Args:
        position: int64 `(batch,)`, 0 or more.
        seed: any integer.
        count: number of indices, 1 or more.
    """
    epoch = position // count
    key = mix(seed)
    halves = [tf.fill(tf.shape(epoch), tf.constant(half, "int64")) for half in (key >> 32, key % 2**32)]
    # The function over this op, tf.random.experimental.index_shuffle, takes one seed for all positions only.
    return tf.raw_ops.RandomIndexShuffle(
        index=position % count,
        seed=tf.stack([*halves, epoch], axis=-1),
        max_index=tf.constant(count - 1, "int64"),
        rounds=4,
    )
