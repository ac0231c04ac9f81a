"""Networks rebuilt with another configuration."""

from keras_frnn import models


def rebuilt(model, *, in_float32: bool = False, **changes) -> models.FoldedRNN:
    """A network with the same weights and another configuration.

    Args:
        model: built.
        in_float32: compute in float32, whatever the model computes in.
        **changes: to the model's configuration, such as `horizon`.
    """
    config = model.get_config()
    if in_float32:
        for part in (config, *(layer["config"] for layer in config["layers"])):
            part.pop("dtype", None)
    twin = models.FoldedRNN.from_config({**config, **changes})
    twin.build(model.context_shape)
    twin.set_weights(model.get_weights())
    return twin
