"""The preset quick of videos_frnn.py on real clips: untrained, it goes on with their motion, and never gets worse."""

import pathlib
import shutil

import keras
import videos_frnn
from clips import real_clips

from keras_frnn import datasets, evaluation
from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import replace
from keras_frnn.experiments.training import make_model


def test_never_worse_than_copying(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("clips").mkdir()
    for path in real_clips()[:2]:
        shutil.copy(path, "clips")
    datasets.prepare_videos("clips", "data", size=(32, 32), color=True, test=["bigbuckbunny*"])
    test = datasets.video_folder("data", "test", batch_size=10, sequences=20, format="keras")

    def errors(model):
        scores = evaluation.evaluate(model, test)
        return scores["model"]["mse"] / scores["copy_last_frame"]["mse"]

    shape = (None, 10, 32, 32, 3)
    untrained = errors(make_model(videos_frnn.QUICK, shape))
    assert untrained.max() < 0.95
    assert untrained[:3].max() < 0.7
    without_motion = replace(videos_frnn.QUICK, topology=videos_frnn.QUICK.network.topology[1:])
    assert abs(errors(make_model(without_motion, shape)) - 1).max() < 0.02  # It copies.
    main(
        "recipes/videos_frnn.py",
        argv=["train", "--data=data", "--iterations=300", "--checkpoint_every=150", "--validation=20"],
        paper=videos_frnn.PAPER,
        quick=videos_frnn.QUICK,
    )
    trained = errors(keras.saving.load_model("runs/videos_frnn-quick/model.keras"))
    # A few clips are too little to learn from. Then validation keeps the untrained network.
    assert trained.mean() < 1.05 * untrained.mean()
    assert trained.max() < 1.005
