"""The preset quick of videos_frnn.py on real clips: it starts as a copy of the last frame, and never gets worse."""

import pathlib
import shutil

import keras
import videos_frnn
from clips import real_clips

from keras_frnn import datasets, evaluation
from keras_frnn.experiments.command_line import main
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

    untrained = make_model(videos_frnn.QUICK, (None, 10, 32, 32, 3))
    assert abs(errors(untrained) - 1).max() < 0.02
    main(
        "recipes/videos_frnn.py",
        argv=["train", "--data=data", "--iterations=300", "--checkpoint_every=150", "--validation=20"],
        paper=videos_frnn.PAPER,
        quick=videos_frnn.QUICK,
    )
    trained = errors(keras.saving.load_model("runs/videos_frnn-quick/model.keras"))
    # A few clips are too little to learn from. Then validation keeps the untrained network.
    assert trained.mean() < 1
    assert trained.max() < 1.005
