"""What speed.py compares with: plain implementations, written as one would without thinking of speed."""

import keras
from keras import ops


class TimeMajorFoldedRNN(keras.Model):
    """The equations of a folded network, one time step after the other, with one convolution a gate."""

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
        # Keras tracks the layers of flat lists.
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
            for layer, convolution in enumerate(convolutions):
                h, c = states[layer]
                i, f, g, o = convolution(torch.cat([x, h], 1)).chunk(4, 1)
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
