"""Training with JAX on sequences that are rendered on the device, since a CPU would be too slow to feed a GPU."""

import concurrent.futures
import pathlib
import time
from collections.abc import Callable

import jax
import keras
import numpy as np

_WARM_UP_STEPS = 200
_LOG_EVERY = 200


def train(
    model: keras.Model,
    loss: Callable,
    batch: Callable[[int], dict],
    render: Callable[[dict], tuple],
    *,
    rate: float,
    minutes: float,
    cooldown: float = 1.0,
    log: Callable[[dict], None] = print,
    folder: pathlib.Path | None = None,
) -> dict:
    """Trains a compiled and built model for a fixed time, which starts after the first step, which compiles.

    Args:
        model: the model. If its optimizer averages weights, it ends with the averages.
        loss: function of the true frames, the predicted frames, and the elapsed fraction of the time.
        batch: computes the inputs of `render` for step n on the CPU, as a dictionary of NumPy arrays.
        render: renders context and future frames from these on the device.
        rate: highest learning rate.
        minutes: training time.
        cooldown: last fraction of the time, in which the rate follows a cosine decay.
        log: is called regularly with the step, the seconds and the mean loss.
        folder: folder for the trainable weights at two points in time, in case the machine disappears.

    Returns:
        `steps` and `seconds`.
    """
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    place = next(i for i, variable in enumerate(optimizer.variables) if variable is optimizer._learning_rate)

    def value(trainable, others, parts, spent):
        context, future = render(parts)
        predicted, others = model.stateless_call(trainable, others, context, training=True)
        return loss(future, predicted, spent), others

    @jax.jit
    def step(trainable, others, state, parts, rate, spent):
        (now, others), gradients = jax.value_and_grad(value, has_aux=True)(trainable, others, parts, spent)
        state = [*state[:place], rate, *state[place + 1 :]]
        trainable, state = optimizer.stateless_apply(state, gradients, trainable)
        return trainable, others, state, now

    variables = [model.trainable_variables, model.non_trainable_variables, optimizer.variables]
    trainable, others, state = ([variable.value for variable in part] for part in variables)
    number, begun, losses, moments = 0, None, [], [0.6, 0.9]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        ahead = [pool.submit(batch, n) for n in range(8)]
        while True:
            spent = 0.0 if begun is None else (time.perf_counter() - begun) / 60 / minutes
            if spent >= 1:
                break
            now = rate * min(1.0, (number + 1) / _WARM_UP_STEPS)
            if 1 - spent < cooldown:
                now *= 0.005 + 0.995 * (1 - np.cos(np.pi * (1 - spent) / cooldown)) / 2
            parts = ahead.pop(0).result()
            ahead.append(pool.submit(batch, number + 8))
            trainable, others, state, loss_now = step(
                trainable, others, state, parts, np.float32(now), np.float32(spent)
            )
            losses.append(loss_now)
            number += 1
            if len(losses) > 2:
                losses[-3].block_until_ready()  # Keeps the queue of steps short for the time limit.
            if begun is None:
                loss_now.block_until_ready()
                begun = time.perf_counter()
            if folder is not None and moments and spent > moments[0]:
                np.savez(folder / f"weights-{moments.pop(0)}.npz", *[np.asarray(array) for array in trainable])
            if number % _LOG_EVERY == 0:
                mean = float(np.mean([float(value) for value in losses]))
                log({"step": number, "seconds": time.perf_counter() - begun, "loss": mean, "rate": now})
                losses = []
                if not np.isfinite(mean):
                    raise SystemExit(f"The loss became {mean}.")
    for part, values in zip(variables, (trainable, others, state), strict=True):
        for variable, array in zip(part, values, strict=True):
            variable.assign(array)
    optimizer.finalize_variable_values(model.trainable_variables)
    return {"steps": number, "seconds": time.perf_counter() - begun}
