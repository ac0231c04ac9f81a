"""The script in docs/processes.md forecasts in spawned processes, after a forecast in their parent."""

import pathlib
import re
import subprocess
import sys

from keras_frnn import models

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "processes.md"


def test_spawned_processes_forecast(tmp_path):
    model = models.FoldedRNN.from_topology([("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3)], horizon=5)
    model.build((None, None, 16, 16, 1))
    model.save(tmp_path / "model.keras")
    (script,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, tmp_path / "script.py", tmp_path / "model.keras"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.rpartition("largest difference:")[2]) < 1e-6
