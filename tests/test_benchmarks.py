"""The cost benchmark on networks of a few channels."""

import json
import pathlib
import shutil
import subprocess
import sys

import keras

BENCHMARK = pathlib.Path(__file__).parent.parent / "benchmarks" / "cost.py"


def test_cost_writes_its_table(tmp_path):
    shutil.copy(BENCHMARK, tmp_path)
    command = [sys.executable, tmp_path / "cost.py", "--width=0.02", "--batch_size=1", "--repeats=1", "--steps=2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    backend = keras.backend.backend()
    written = json.loads((tmp_path / "results" / f"cost-{backend}.json").read_text())
    assert (tmp_path / "results" / f"cost-{backend}.md").read_text() in result.stdout
    assert list(written["measured"]) == ["fRNN", "RLadder", "ConvLSTM"]
    assert written["counted"]["fRNN"]["weights"] > 100e6
    assert written["measured"]["fRNN"]["weights"] < 1e6
    assert written["machine"]["backend"] == backend
    for cost in written["measured"].values():
        assert cost["training_step_seconds"] > 0
    assert "(1.00)" in result.stdout
