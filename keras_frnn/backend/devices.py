"""Where the backend computes."""

import contextlib

import keras


def accelerator() -> str | None:
    """The GPU or TPU that Keras puts tensors on, as the backend names it; None where that is the CPU."""
    with _outside_of_traces():
        device = str(keras.ops.convert_to_tensor(0.0).device)
    return None if "cpu" in device.lower() else device


def jax_is_on_cpu() -> bool:
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def batch_shards() -> int:
    """The number of devices among which JAX splits a batch, one after the other, by `keras.distribution`."""
    distribution = keras.distribution.distribution()
    if distribution is None or keras.backend.backend() != "jax":
        return 1
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]


def batch_processes() -> int:
    """The number of processes that give JAX a part each of a batch."""
    if batch_shards() == 1:
        return 1
    import jax

    return jax.process_count()


def _outside_of_traces():
    """What is being traced for compilation is not on any device yet."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.init_scope()
    if backend == "jax":
        import jax

        return jax.ensure_compile_time_eval()
    return contextlib.nullcontext()
