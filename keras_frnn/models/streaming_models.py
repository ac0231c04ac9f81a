"""The two directions of a network as models of one step each, to be exported."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_frnn.models.export import Exportable


class StreamingModels(NamedTuple):
    """What `streaming_models` returns."""

    encode: keras.Model
    decode: keras.Model
    start: list[np.ndarray]


class _Step(keras.layers.Layer):
    """A method of a network as a layer: `function(tensors)` returns tensors of known shapes."""

    def __init__(self, network, function, output_shapes):
        super().__init__(dtype=network.dtype_policy, autocast=False)
        self.network, self.function = network, function
        self.make_spec = lambda: keras.tree.map_shape_structure(
            lambda shape: keras.KerasTensor(shape, "float32"), output_shapes
        )
        self.built = True

    def call(self, tensors):
        return self.function(tensors)

    def compute_output_spec(self, tensors):
        return self.make_spec()


class StepModel(Exportable, keras.Model):
    """A functional model of one step of a network. It exports itself; `streaming_models` makes it."""

    def __call__(self, inputs, *args, **kwargs):
        # Keras takes no list of arrays and tensors mixed, as a frame and the state are.
        inputs = keras.tree.map_structure(
            lambda x: ops.convert_to_tensor(x) if isinstance(x, np.ndarray) else x, inputs
        )
        return super().__call__(inputs, *args, **kwargs)

    def _export_signature(self, batch):
        specs = [keras.InputSpec(shape=(batch, *x.shape[1:]), dtype="float32", name=x.name) for x in self.inputs]
        return [specs]


def make_streaming_models(network, frame_shape: tuple, steps: int) -> StreamingModels:
    """See `LayerStack.streaming_models`."""
    shape, shapes = (None, 1, *frame_shape), []
    for layer in network.stack:
        shapes.append(layer.state_shapes(shape))
        shape = layer.encoded_shape(shape)
    flat_shapes = tuple(shape for parts in shapes for shape in parts)

    def nested(parts):
        parts = iter(parts)
        return tuple(tuple(next(parts) for _ in of_layer) for of_layer in shapes)

    def encode(tensors):
        frame, *state = tensors
        # Not a list, of which Keras makes a tracked one, which JAX does not take.
        return tuple(part for parts in network._encode(frame[:, None], nested(state)) for part in parts)

    def decode(state):
        return network._decode(nested(state), steps)

    def model(function, inputs, output_shapes, name):
        step = _Step(network, function, output_shapes)
        return StepModel(inputs=inputs, outputs=step(inputs), name=name)

    def inputs():
        return [keras.Input(shape[1:], name=f"state_{i}") for i, shape in enumerate(flat_shapes)]

    frame = keras.Input(frame_shape, name="frame")
    values = [value for layer in network.stack for value in layer.initial_values()]
    start = [
        np.broadcast_to(np.asarray(ops.convert_to_numpy(value), "float32"), (1, *shape[1:])).copy()
        for value, shape in zip(values, flat_shapes, strict=True)
    ]
    return StreamingModels(
        model(encode, [frame, *inputs()], flat_shapes, "encode"),
        model(decode, inputs(), (None, steps, *frame_shape), "decode"),
        start,
    )
