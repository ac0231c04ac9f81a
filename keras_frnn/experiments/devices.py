"""The devices that train a network together, each with its part of every batch. Each backend does so in its own way.

TensorFlow   tf.distribute.MirroredStrategy; on several hosts MultiWorkerMirroredStrategy, by TF_CONFIG
JAX          keras.distribution.DataParallel; on several hosts by KERAS_DISTRIBUTION_JOB_ADDRESSES,
             KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID
Torch        DistributedDataParallel, one process per device, started by torchrun; on several hosts by its flags
"""

import concurrent.futures
import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import keras


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a process trains.

    Attributes:
        devices: number of devices that share each batch, in all processes together.
        processes: number of processes. Each reads its own part of the data.
        process: number of this process. Only process 0 writes and prints.
        scope: the context in which models are made, loaded and trained.
        prepare: called with a model before `fit`.
        splits: whether `fit` expects batches of the full size and splits them itself.
    """

    devices: int = 1
    processes: int = 1
    process: int = 0
    scope: Callable[[], AbstractContextManager] = contextlib.nullcontext
    prepare: Callable[[keras.Model], None] = lambda model: None
    splits: bool = False

    def alone(self, function: Callable, *arguments):
        """Calls a function that only this process calls, such as one that saves.

        To save, Keras makes an optimizer to compare with. In `scope`, its variables would wait for the other processes.
        A new thread is outside of `scope`.
        """
        if self.processes == 1:
            return function(*arguments)
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(function, *arguments).result()


def join(count: int, batch_size: int, kind: str | None = None) -> Place:
    """Sets up this process' devices and connects to the other processes. Call it before anything is computed.

    On Torch, it restarts the program with one process per device, unless torchrun has done so.

    Args:
        count: number of devices on this host.
        batch_size: sequences per step, on all devices together.
        kind: `"gpu"`, `"cpu"`, or None for what Keras takes by itself.

    Raises:
        ValueError: there are fewer devices, or they do not divide the batch.
    """
    _check_batch(batch_size, count)
    engine = keras.backend.backend()
    place = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[engine](count, kind)
    _check_batch(batch_size, place.devices)
    return place


def _check_batch(batch_size: int, devices: int):
    if batch_size % devices:
        raise ValueError(
            f"{devices} devices cannot share a batch of {batch_size} sequences equally. Pass a multiple of {devices}, "
            f"such as --batch_size={-(-batch_size // devices) * devices}, or other --devices."
        )


def _check(count: int, found: int, what: str, how: str):
    if found < count:
        raise ValueError(
            f"--devices={count}, but {keras.backend.backend()} has {found} {what} here. "
            f"Pass --devices={max(found, 1)}, or {how}."
        )


def _tensorflow(count: int, kind: str | None) -> Place:
    import tensorflow as tf

    if "TF_CONFIG" in os.environ:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        resolver = strategy.cluster_resolver
        names = resolver.cluster_spec().as_dict()
        chiefs, processes = len(names.get("chief", [])), len(names.get("chief", [])) + len(names.get("worker", []))
        process = resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)
        _check(count, strategy.num_replicas_in_sync // processes, "devices", "look at CUDA_VISIBLE_DEVICES")
        devices = strategy.num_replicas_in_sync
        return Place(devices, processes, process, strategy.scope, prepare=_ready_for_workers, splits=True)
    if count == 1:
        return Place()
    kind = (kind or ("gpu" if tf.config.list_physical_devices("GPU") else "cpu")).upper()
    found = tf.config.list_logical_devices(kind)
    how = "make virtual ones with tf.config.set_logical_device_configuration" if kind == "CPU" else "add GPUs"
    _check(count, len(found), f"{kind}s", how)
    strategy = tf.distribute.MirroredStrategy([device.name for device in found[:count]])
    return Place(count, scope=strategy.scope, splits=True)


def _ready_for_workers(model: keras.Model):
    """Works around two faults of `fit` in Keras 3.15 under MultiWorkerMirroredStrategy."""
    # To learn the shape of a batch, which is known, it averages one over the processes.
    model.optimizer.build(model.trainable_variables)
    model._maybe_symbolic_build = lambda *_, **__: None
    # It averages the loss over a first axis, which a number does not have.
    train_step = model.train_step
    model.train_step = lambda data: {name: value[None] for name, value in train_step(data).items()}


def _jax(count: int, kind: str | None) -> Place:
    import jax

    if "KERAS_DISTRIBUTION_NUM_PROCESSES" in os.environ:
        keras.distribution.initialize()
    processes = jax.process_count()
    if count == processes == 1:
        return Place()
    kind = kind or jax.default_backend()
    try:
        found = keras.distribution.list_devices(kind)
    except RuntimeError:  # JAX knows no such kind.
        found = []
    how = "add some"
    if kind == "cpu":
        how = f"set XLA_FLAGS=--xla_force_host_platform_device_count={count}, for virtual ones"
    _check(count, len(found) // processes, f"{kind.upper()}s", how)
    if processes > 1 and len(found) != count * processes:
        raise ValueError(
            f"All devices of {processes} hosts train together. Expected: --devices={len(found) // processes}. "
            f"Received: --devices={count}"
        )
    distribution = keras.distribution.DataParallel(devices=found[: count * processes], auto_shard_dataset=False)
    return Place(count * processes, processes, jax.process_index(), distribution.scope)


def _torch(count: int, kind: str | None) -> Place:
    import torch

    if count == 1 and "WORLD_SIZE" not in os.environ:
        return Place()
    started = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", 1)))
    has_gpu = torch.cuda.is_available() and kind != "cpu"
    if has_gpu or kind not in (None, "cpu"):
        _check(count, torch.cuda.device_count(), "GPUs", "pass --device=cpu:0")
    if "WORLD_SIZE" not in os.environ and count > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        os.execv(sys.executable, [sys.executable, *launcher, *sys.argv])
    if started != count:
        raise ValueError(f"torchrun started {started} processes on this host. Received: --devices={count}")
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return Place()
    if has_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if has_gpu else "gloo")
    processes, process = torch.distributed.get_world_size(), torch.distributed.get_rank()
    return Place(processes, processes, process, _torch_group, _share_gradients)


@contextlib.contextmanager
def _torch_group():
    import torch

    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def _share_gradients(model: keras.Model):
    """Makes `fit` average gradients and losses over all processes: Keras calls the model itself, not its wrapper."""
    import torch

    parallel = torch.nn.parallel.DistributedDataParallel(model)

    def train_step(data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        prediction = parallel(x, training=True)
        model.zero_grad()
        loss = model.compute_loss(x, y, prediction, sample_weight, training=True)
        mean = loss.detach().clone()
        torch.distributed.all_reduce(mean)
        model._loss_tracker.update_state(mean / torch.distributed.get_world_size(), sample_weight=x.shape[0])
        model.optimizer.scale_loss(loss).backward()
        gradients = [variable.value.grad for variable in model.trainable_weights]
        with torch.no_grad():
            model.optimizer.apply(gradients, model.trainable_weights)
        return model.compute_metrics(x, y, prediction, sample_weight)

    model.train_step = train_step
