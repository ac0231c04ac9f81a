"""Checkpoints of the authors' implementation."""

import shutil

import golden
import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frnn import models, reference

FAMILIES = {"frnn": models.FoldedRNN, "rladder": models.LadderRNN}


def checkpoint(name):
    return golden.DATA / f"{name}_checkpoint" / "model-0"


def untrained(name="frnn", topology=None):
    model = FAMILIES[name].from_topology(topology or golden.topology(name), horizon=3)
    model.build((None, None, 16, 20, 1))
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_predicts_like_the_authors(name):
    model = untrained(name)
    reference.load_checkpoint(model, checkpoint(name))
    frames = model.forecast(golden.frames(name)[0])
    np.testing.assert_allclose(frames, golden.arrays(name)["predictions"], rtol=0, atol=1e-5)


def rewritten(folder, change, name="frnn"):
    """A copy of a checkpoint with variables modified by `change`."""
    reader = tf.train.load_checkpoint(str(checkpoint(name)))
    variables = {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}
    change(variables)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tensors = {key: tf.compat.v1.Variable(value, name=None) for key, value in variables.items()}
        session.run(tf.compat.v1.global_variables_initializer())
        return tf.compat.v1.train.Saver(tensors).save(session, str(folder / "model.ckpt"), global_step=500)


def test_other_scope_and_optimizer_slots(tmp_path):
    def change(variables):
        for key in list(variables):
            value = variables.pop(key)
            key = key.replace("flownet/", "some/other/scope/")
            variables[key] = value
            variables[f"{key}/RMSProp"] = variables[f"{key}/RMSProp_1"] = np.ones_like(value)
        variables["global_step"] = np.int64(500_000)

    model = untrained()
    reference.load_checkpoint(model, rewritten(tmp_path, change))
    frames = model.forecast(golden.frames()[0])
    np.testing.assert_allclose(frames, golden.arrays()["predictions"], rtol=0, atol=1e-5)


def without(key):
    return lambda variables: variables.pop(key)


def reshaped(variables):
    key = "flownet/topology_0/layer_4/Variable_3"
    variables[key] = variables[key][:, :, :-1]


def copied(variables):
    variables.update({key.replace("flownet", "twin"): value for key, value in list(variables.items())})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("flownet/topology_0/layer_4/Variable_12"), r"lacks variables of layer_4 .*Variable_12 \(state_init\)"),
        (without("flownet/topology_0/layer_0/Variable"), r"lacks variables of layer_0 .*FoldedConv2D: Variable \(b1\)"),
        (reshaped, r"layer_4/Variable_3 of .* has shape \(3, 3, 10, 5\), but w1 of layer_4 .* has \(3, 3, 11, 5\)"),
        (copied, r"more than one network: \['flownet/topology_0/layer_', 'twin/topology_0/layer_'\]"),
        (
            lambda variables: variables.clear() or variables.update(step=np.int64(1)),
            "has no variables named SCOPE/topology_0",
        ),
    ],
)
def test_broken_checkpoints_change_nothing(tmp_path, change, message):
    model = untrained()
    before = [np.array(weight) for weight in model.get_weights()]
    with pytest.raises(ValueError, match=message):
        reference.load_checkpoint(model, rewritten(tmp_path, change))
    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_the_other_kind_of_network():
    with pytest.raises(ValueError, match="another kind of network: its layer_3 .* BridgeLadder .* a FoldedConvGRU"):
        reference.load_checkpoint(untrained("frnn"), checkpoint("rladder"))
    with pytest.raises(ValueError, match="another kind of network: its layer_3 .* FoldedConvGRU .* a BridgeLadder"):
        reference.load_checkpoint(untrained("rladder"), checkpoint("frnn"))


def test_another_topology():
    model = untrained(topology=golden.topology()[:5])
    with pytest.raises(ValueError, match=r"layers \[0, 1, 3, 4, 6, 7\], .* of 5 layers has them in \[0, 1, 3, 4\]"):
        reference.load_checkpoint(model, checkpoint("frnn"))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_builds_an_unbuilt_network(name, data_format, tmp_path):
    model = FAMILIES[name].from_topology(golden.topology(name), horizon=3, data_format=data_format)
    reference.load_checkpoint(model, checkpoint(name))
    model.save(tmp_path / "model.keras")
    context, expected = golden.frames(name)[0], golden.arrays(name)["predictions"]
    if data_format == "channels_first":
        context, expected = np.moveaxis(context, -1, 2), np.moveaxis(expected, -1, 2)
    for network in (model, keras.saving.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(network.forecast(context), expected, rtol=0, atol=1e-5)


def test_other_models_have_no_checkpoints():
    with pytest.raises(ValueError, match="only be loaded into a FoldedRNN or LadderRNN"):
        reference.load_checkpoint(models.CopyLastFrame(3), checkpoint("frnn"))


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Pass the path without its suffix"):
        reference.load_checkpoint(untrained(), tmp_path / "model.ckpt")


@pytest.mark.parametrize("broken", ["model-0.index", "model-0.data-00000-of-00001"])
def test_truncated_file(tmp_path, broken):
    for path in checkpoint("frnn").parent.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    (tmp_path / broken).write_bytes((tmp_path / broken).read_bytes()[:100])
    with pytest.raises(ValueError, match="is not a readable TensorFlow checkpoint"):
        reference.load_checkpoint(untrained(), tmp_path / "model-0")
