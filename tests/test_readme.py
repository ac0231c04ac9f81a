"""The code in the README runs unchanged, except for shorter trainings."""

import pytest
from clips import write_clip
from documents import README, python_blocks, run, shorten_training


@pytest.mark.once
def test_code_runs(tmp_path, monkeypatch, capsys):
    shorten_training(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").symlink_to(README.parent / "tests")
    for i in range(2):
        write_clip(tmp_path / "my_videos" / f"{i}.avi", frames=25)
    first, train, use, *others = python_blocks(README)
    run(first, README, {})
    trained = run(train, README, {})
    namespace = run(use, README, {})  # Run separately, after a model was saved.
    for block in others:
        run(block, README, namespace := {**trained, **namespace})
    assert "200 test sequences" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "future.gif",
        "prediction.gif",
        "my-network",
        "digits.keras",
        "tests",
        "my_videos",
        "prepared",
    }
    assert namespace["future"].shape == (1, 30, 32, 32, 1)
    assert tuple(namespace["frames"].shape) == (1, 10, 32, 32, 1)
    assert len(namespace["shorter"].stack) == 3
    assert namespace["predicted"].shape == (1, 3, 16, 20, 1)
