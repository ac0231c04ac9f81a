"""The cost benchmark on networks of a few channels."""

import json
import pathlib
import subprocess
import sys

from keras_frnn import evaluation, models

BENCHMARK = pathlib.Path(__file__).parent.parent / "benchmarks" / "cost.py"


def test_measures_one_model_in_a_process(monkeypatch):
    command = [sys.executable, BENCHMARK, "--only=fRNN", "--width=0.02", "--batch_size=1", "--repeats=1", "--steps=2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    measured = evaluation.Cost(**json.loads(result.stdout.splitlines()[-1]))
    topology = models.scale_topology(models.PAPER_TOPOLOGY, 0.02)
    counted = evaluation.cost(models.FoldedRNN.from_topology(topology, 2), (64, 64, 1), context=2, horizon=2)
    assert (measured.weights, measured.macs) == (counted.weights, counted.macs)
    assert measured.training_step_seconds > 0

    monkeypatch.syspath_prepend(BENCHMARK.parent)
    import cost

    setting = {"frame": (64, 64, 1), "context": 2, "horizon": 2, "width": 0.02, "batch_size": 1, "repeats": 1}
    twice = evaluation.Cost(**{**measured.__dict__, "training_step_seconds": 2 * measured.training_step_seconds})
    table = cost._table({"fRNN": counted}, {"fRNN": measured, "slow": twice}, setting)
    assert f"| fRNN | {counted.weights:,} | {counted.encode_macs / 1e9:.1f} |" in table
    assert f"{twice.training_step_seconds:.2f} (2.00)" in table
