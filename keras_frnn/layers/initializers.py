"""Initializers that recurrent layers make from those that users give."""

import keras
import numpy as np
from keras import ops


def gate_biases(*values: float):
    """Initializer of a vector with one of these values in the channels of each gate."""

    def initializer(shape, dtype=None):
        return ops.repeat(ops.convert_to_tensor(values, dtype), shape[0] // len(values))

    return initializer


def independent_initializers(initializer, count: int) -> list:
    """Copies of an initializer that draw independently of each other.

    Keras initializers are functions: the same instance draws the same values twice. Gates must start with different
    values, also where the user gave a seed, or a `keras.random.SeedGenerator`, from which a seed is drawn here.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return [initializer] * count
    config = initializer.get_config()
    seed = config.get("seed")
    if isinstance(getattr(initializer, "seed", None), keras.random.SeedGenerator):
        # Its config has the seed that it began with. A seed drawn from it depends on what was drawn before.
        seed = [int(part) & 0xFFFFFFFF for part in ops.convert_to_numpy(initializer.seed.next())]
    elif not isinstance(seed, int):
        return [initializer.__class__.from_config(config) for _ in range(count)]
    seeds = np.random.SeedSequence(seed).generate_state(count) >> 1
    return [initializer.__class__.from_config({**config, "seed": int(seed)}) for seed in seeds]
