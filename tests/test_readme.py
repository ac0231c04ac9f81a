"""The code in the README runs as it stands, but for the length of its training."""

import pathlib
import re

import keras
import pytest
from clips import write_clip

README = pathlib.Path(__file__).parent.parent / "README.md"


def run(block: str, namespace: dict) -> dict:
    exec(compile(block, str(README), "exec"), namespace)
    return namespace


@pytest.mark.once
def test_code_runs(tmp_path, monkeypatch, capsys):
    fit = keras.Model.fit

    def short_fit(model, data, y, *, steps_per_epoch, epochs, shuffle):
        assert steps_per_epoch * epochs >= 100
        return fit(model, data, y, steps_per_epoch=2, epochs=1, shuffle=shuffle)

    monkeypatch.setattr(keras.Model, "fit", short_fit)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").symlink_to(README.parent / "tests")
    for i in range(2):
        write_clip(tmp_path / "my_videos" / f"{i}.avi", frames=25)
    first, train, use, *others = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    run(first, {})
    trained = run(train, {})
    namespace = run(use, {})  # Pasted alone, where a model was saved.
    for block in others:
        run(block, namespace := {**trained, **namespace})
    assert "200 test sequences" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "future.gif",
        "prediction.gif",
        "my-network",
        "model.keras",
        "tests",
        "my_videos",
        "prepared",
    }
    assert namespace["future"].shape == (1, 30, 32, 32, 1)
    assert tuple(namespace["frames"].shape) == (1, 10, 32, 32, 1)
    assert len(namespace["shorter"].stack) == 3
    assert namespace["predicted"].shape == (1, 3, 16, 20, 1)


@pytest.mark.once
def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
