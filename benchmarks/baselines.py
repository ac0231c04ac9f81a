"""The references of speed.py: straightforward implementations that were not optimized for speed, and the convolutions
alone."""

import keras
from keras import ops

from keras_frnn import backend, layers


class TimeMajorFoldedRNN(keras.Model):
    """The equations of a folded network, one time step after the other, with one convolution per gate."""

    def __init__(self, topology, horizon: int):
        super().__init__()
        self.topology, self.horizon = topology, horizon

    def build(self, shape):
        channels = shape[-1]
        self.levels = []
        for kind, *arguments in self.topology:
            if kind == "conv":
                filters, size = arguments
                encode, decode = (
                    self._conv(channels, filters, size, "tanh"),
                    self._conv(filters, channels, size, "tanh"),
                )
                channels = filters
                self.levels.append((kind, encode, decode))
            elif kind == "pool":
                self.levels.append((kind, *arguments, None))
            else:
                filters, size = arguments
                encode, decode = (
                    [
                        self._conv(channels + filters, outputs, size, activation)
                        for activation in ("sigmoid",) * 2 + ("tanh",)
                    ]
                    for outputs in (filters, channels)
                )
                self.levels.append((kind, encode, decode, channels, filters))
                channels = filters
        # Keras only tracks layers in flat lists.
        self.convolutions = [conv for level in self.levels for part in level[1:3] for conv in _as_list(part)]

    def _conv(self, inputs, filters, size, activation):
        conv = keras.layers.Conv2D(filters, size, padding="same", activation=activation, data_format="channels_last")
        conv.build((None, None, None, inputs))
        return conv

    def compute_output_shape(self, shape):
        return (shape[0], self.horizon, *shape[2:])

    def call(self, video):
        _, context, height, width, _ = video.shape
        states = []
        for kind, *level in self.levels:
            if kind == "pool":
                height, width = height // level[0], width // level[0]
            shape = (ops.shape(video)[0], height, width)
            states.append([ops.zeros((*shape, n)) for n in level[2:]] if kind == "recurrent" else None)
        for t in range(context):
            x = video[:, t]
            for level, state in zip(self.levels, states, strict=True):
                if level[0] == "conv":
                    x = level[1](x)
                elif level[0] == "pool":
                    x = ops.max_pool(x, level[1], strides=level[1], data_format="channels_last")
                else:
                    state[0], state[1] = x, _update(level[1], state[1], x)
                    x = state[1]
        frames = []
        for t in range(self.horizon):
            if t:
                states[-1][1] = _update(self.levels[-1][1], states[-1][1], states[-1][0])
            y = states[-1][1]
            for level, state in zip(reversed(self.levels), reversed(states), strict=True):
                if level[0] == "conv":
                    y = level[2](y)
                elif level[0] == "pool":
                    y = ops.repeat(ops.repeat(y, level[1], axis=1), level[1], axis=2)
                else:
                    state[0] = y = _update(level[2], state[0], y)
            frames.append(y)
        return ops.stack(frames, axis=1)


def _as_list(part):
    return part if isinstance(part, list) else [part] if isinstance(part, keras.layers.Layer) else []


def _update(gates, h, x):
    r, z = (gate(ops.concatenate([x, h], axis=-1)) for gate in gates[:2])
    c = gates[2](ops.concatenate([x, r * h], axis=-1))
    return z * c + (1 - z) * h


def torch_conv_lstm(batch_size: int = 2, steps: int = 19, filters: int = 128, layers: int = 4, size: int = 16):
    """A training step of ConvLSTM layers in plain PyTorch, and its multiply-accumulates for one sequence."""
    import torch

    inputs = [16] + [filters] * (layers - 1)
    convolutions = torch.nn.ModuleList(torch.nn.Conv2d(n + filters, 4 * filters, 5, padding=2) for n in inputs)
    readout = torch.nn.Conv2d(filters, 16, 1)
    optimizer = torch.optim.RMSprop([*convolutions.parameters(), *readout.parameters()], 1e-4)
    video = torch.rand(batch_size, steps + 1, 16, size, size)

    def step():
        states = [(torch.zeros(batch_size, filters, size, size),) * 2 for _ in convolutions]
        loss = 0.0
        for t in range(steps):
            x = video[:, t]
            for layer, gates in enumerate(convolutions):
                h, c = states[layer]
                i, f, g, o = gates(torch.cat([x, h], 1)).chunk(4, 1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                x = o.sigmoid() * c.tanh()
                states[layer] = x, c
            loss = loss + (readout(x) - video[:, t + 1]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    macs = steps * size * size * (25 * sum((n + filters) * 4 * filters for n in inputs) + filters * 16)
    return step, macs


def convolutions(
    stack,
    batch_size: int,
    context: int = 10,
    horizon: int = 10,
    size: int = 64,
    training: bool = False,
    gradient_of_frames: bool = True,
):
    """The convolutions of a forecast or of a training step, one after the other, and nothing else.

    It uses as few calls as the equations allow, and the savings of `upsampled_conv`. It is not for JAX, whose compiler
    removes unused parts of results.
    """
    calls = []  # (number of calls, function, argument)

    def add(steps, frames, size, kernel, factors=(1, 1), inputs_have_gradient=True):
        """Convolutions of this many frames of this size, as often as there are steps; and their gradients."""
        small = size // factors[0]
        x = keras.random.uniform((frames, small, small, kernel.shape[2]))
        y = keras.random.uniform((frames, size, size, kernel.shape[3]))
        calls.append((steps, lambda x: backend.upsampled_conv(x, kernel, factors), x))
        if not training:
            return
        if factors == (1, 1):
            xs, ys = (ops.repeat(part, steps, axis=0) for part in (x, y))
            calls.append((1, lambda ys: backend.kernel_gradient(xs, ys, kernel.shape[:2]), ys))
            if inputs_have_gradient:
                turned = backend.flipped(kernel)
                calls.append((steps, lambda y: backend.input_gradient(y, turned), y))
        else:

            def both_gradients(y):
                dx, dkernel = backend.upsampled_conv_gradients(x, kernel, factors, y)
                return dx + dkernel[0, 0, 0, 0]

            calls.append((steps, both_gradients, y))

    for index, member in enumerate(stack):
        above = stack[index + 1] if index + 1 < len(stack) else None
        upsampling = above.pool_size if isinstance(above, layers.FoldedMaxPooling2D) else (1, 1)
        if isinstance(member, layers.FoldedMaxPooling2D):
            size //= member.pool_size[0]
            continue
        if isinstance(member, layers.FoldedConv2D):
            kernel = backend.packed(member.kernel.value)
            add(1, context * batch_size, size, kernel, inputs_have_gradient=index > 0)
            back = backend.packed(ops.transpose(kernel, (0, 1, 3, 2)))
            add(1, horizon * batch_size, size, back, upsampling)
            continue
        # Inputs of all steps are convolved at once, except in the top layer's rollout.
        runs = [(member.encoder, context, (1, 1))]
        if member.has_decoder and above is None:
            runs += [(member.encoder, 1, (1, 1))] * (horizon - 1) + [(member.decoder, 1, (1, 1))] * horizon
        elif member.has_decoder:
            runs += [(member.decoder, horizon, upsampling)]
        for update, steps, factors in runs:
            kernel = backend.packed(update.kernel.value)
            add(1, steps * batch_size, size, kernel, factors, gradient_of_frames)
            for kernel in (update.recurrent_kernel, update.candidate_kernel):
                add(steps, batch_size, size, backend.packed(kernel.value))

    def run():
        pixel = 0.0
        for count, function, x in calls:
            for _ in range(count):
                # Each call depends on the previous one, as in a loop over time. Otherwise TensorFlow would merge them.
                pixel = ops.tanh(function(x + pixel)[0, 0, 0, 0])
        return pixel

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        run = tf.function(run)
    elif keras.backend.backend() == "torch":
        import torch

        run = torch.no_grad()(run)
    return lambda: ops.convert_to_numpy(run())
