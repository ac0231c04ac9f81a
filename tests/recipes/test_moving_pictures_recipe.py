"""The recipe of moving pictures, on networks that train in seconds."""

import json

import cv2
import keras
import moving_pictures
import numpy as np
import pytest

from keras_frnn import models
from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import replace
from keras_frnn.models.topologies import topology_of

pytestmark = pytest.mark.once
TINY = replace(
    moving_pictures.QUICK,
    topology=(("motion",), ("patch", 2), ("recurrent", 3, 3), ("pool", 2), ("recurrent", 4, 3)),
    size=16,
    context=3,
    horizon=2,
    iterations=4,
    batch_size=2,
    checkpoint_every=2,
    warm_up=2,
    test_sequences=6,
    samples=2,
)


def run(folder, *argv):
    main("recipes/moving_pictures.py", argv=[*argv, f"--output={folder}"], tiny=TINY)


def test_one_command_trains_and_scores(tmp_path, monkeypatch):
    run(tmp_path / "run", "train", "evaluate", "predict", "export", "--count=1")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    of_network, of_copying = (np.mean(results["scores"]["values"][n]["mse"]) for n in ("fRNN", "copy_last_frame"))
    assert of_network < 1.5 * of_copying  # Training starts close to copying.
    assert results["settings"]["data"]["train"]["pictures"] == 9
    assert results["settings"]["data"]["test"]["pictures"] == 4
    assert np.load(tmp_path / "run" / "predictions" / "sequence-00000.npy").shape == (2, 16, 16, 3)
    forecast = models.FoldedRNN.from_preset(tmp_path / "run" / "preset").forecast(np.zeros((1, 3, 16, 16, 3)))
    assert forecast.shape == (1, 2, 16, 16, 3)
    # Batches from other processes are the same, so the same network results.
    run(tmp_path / "other", "train", "--workers=2")
    one, other = (keras.saving.load_model(tmp_path / name / "model.keras") for name in ("run", "other"))
    for weight, same in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(same, weight, rtol=1e-5, atol=1e-6)


def test_own_pictures_in_gray(tmp_path):
    generator = np.random.default_rng(0)
    for index in range(3):
        picture = cv2.resize(generator.integers(0, 256, (9, 9, 3)).astype("uint8"), (60, 70))
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture)
    arguments = [f"--pictures={tmp_path}", "--color=false"]
    run(tmp_path / "run", "train", *arguments)
    assert keras.saving.load_model(tmp_path / "run" / "model.keras").context_shape[-1] == 1
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((70, 60), "uint8"))
    with pytest.raises(SystemExit) as error:
        run(tmp_path / "run", "train", *arguments)
    assert "holds a run with other settings or data" in str(error.value.code)


def test_motion_is_added_in_the_second_phase(tmp_path):
    phases = (dict(topology=TINY.network.topology[1:]), dict(learning_rate=1e-4), dict(average=2))
    main("recipes/a.py", argv=["train", f"--output={tmp_path / 'run'}"], tiny=replace(TINY, phases=phases))
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert topology_of(model.stack) == list(TINY.network.topology)


def test_no_folder(tmp_path):
    with pytest.raises(SystemExit) as error:
        run(tmp_path / "run", "train", f"--pictures={tmp_path / 'missing'}")
    assert "`pictures` must be a folder of pictures" in str(error.value.code)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("preset", [moving_pictures.SHIPPED, moving_pictures.QUICK])
def test_presets_make_networks(preset):
    network = preset.network
    model = models.FoldedRNN.from_topology(
        network.topology, 10, update_bias=network.update_bias, decoder_update_bias=network.decoder_update_bias
    )
    model.build((None, 10, 64, 64, 3))
    if preset is moving_pictures.SHIPPED:
        assert model.count_params() == models.FoldedRNN.presets["moving-pictures"]["parameter_count"]
