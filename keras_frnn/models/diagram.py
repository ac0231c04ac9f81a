"""A network as boxes and arrows."""

import keras


class _Box(keras.layers.Layer):
    """One direction of a layer: a name, and the shape of the frames that it outputs."""

    def __init__(self, shape: tuple, name: str):
        super().__init__(name=name)
        self.shape = shape

    def compute_output_spec(self, *inputs):
        return keras.KerasTensor(self.shape)

    def call(self, *inputs):
        raise NotImplementedError("This model is a drawing. Call the network that it was made of.")


def diagram(network: keras.Model) -> keras.Model:
    """See `LayerStack.diagram`."""
    context = x = keras.Input(network.context_shape[1:], name="context")
    shape, encoded = network.context_shape, []
    for layer in network.stack:
        next_shape = layer.encoded_shape(shape)
        x = _box(layer, "encode", next_shape)(x)
        encoded.append((layer, shape, x))
        shape = next_shape
    x = None  # The top layer has no layer above.
    for layer, shape, output in reversed(encoded):
        inputs = [x] * (x is not None) + [output] * bool(layer.state_shapes(shape))
        x = _box(layer, "decode", (shape[0], network.horizon, *shape[2:]))(*inputs)
    return keras.Model(context, x, name=network.name)


def _box(layer: keras.layers.Layer, direction: str, shape: tuple) -> _Box:
    # Keras writes the name of the class into a box, and the name of the layer only on request.
    kind = type(f"{type(layer).__name__}, {direction}", (_Box,), {})
    return kind(shape, f"{layer.name}_{direction}")
