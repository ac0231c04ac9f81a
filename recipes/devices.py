"""The devices that train a network together, by each engine's own means. Every device has a part of every batch.

TensorFlow   tf.distribute.MirroredStrategy; on several hosts MultiWorkerMirroredStrategy, by TF_CONFIG
JAX          keras.distribution.DataParallel; on several hosts by KERAS_DISTRIBUTION_JOB_ADDRESSES,
             KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID
Torch        DistributedDataParallel, a process a device, which torchrun starts; on several hosts by its flags
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
        devices: that share each batch, of all processes together.
        processes: that read data, each its own.
        process: number of this one. Number 0 alone writes and prints.
        scope: in which models are made, loaded and trained.
        prepare: what is to be done to a model before `fit`.
        splits: whether `fit` takes the batches of all processes and leaves to each its part.
    """

    devices: int = 1
    processes: int = 1
    process: int = 0
    scope: Callable[[], AbstractContextManager] = contextlib.nullcontext
    prepare: Callable[[keras.Model], None] = lambda model: None
    splits: bool = False

    def alone(self, function: Callable, *arguments):
        """Calls a function that the other processes do not call, such as one that saves.

        Keras makes an optimizer, to compare with, when it saves, and in `scope` its variables would wait for those of
        the others. A thread of its own is in no scope.
        """
        if self.processes == 1:
            return function(*arguments)
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(function, *arguments).result()


def join(count: int, batch_size: int, kind: str | None = None) -> Place:
    """Takes this process' devices, and meets those of other processes. To be called before anything is computed.

    On Torch, where torchrun has not started this process, it starts the program again, once a device.

    Args:
        count: devices on this host.
        batch_size: sequences a step, of all devices together.
        kind: `"gpu"`, `"cpu"`, or None for what Keras takes by itself.

    Raises:
        ValueError: there are not as many devices, or they do not divide the batch.
    """
    _check_batch(batch_size, count)
    engine = keras.backend.backend()
    place = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[engine](count, kind)
    _check_batch(batch_size, place.devices)
    return place


def _check_batch(batch_size: int, devices: int):
    if batch_size % devices:
        raise ValueError(
            f"{devices} devices cannot share a batch of {batch_size} sequences equally. Pass a batch that they divide, "
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
    """Goes round two places where `fit` of Keras 3.15 fails under MultiWorkerMirroredStrategy."""
    # It averages a batch over the processes to learn its shape, which is known.
    model.optimizer.build(model.trainable_variables)
    model._maybe_symbolic_build = lambda *_, **__: None
    # It averages the loss over a first axis, too, that a number does not have.
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
    """Makes `fit` average gradients and losses over all processes: Keras calls the model itself, not what wraps it."""
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
