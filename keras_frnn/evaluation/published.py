"""The results published by the paper's authors."""

import functools
import json
import pathlib


@functools.cache
def _file() -> dict:
    return json.loads(pathlib.Path(__file__).with_name("published_results.json").read_text())


def published_results(dataset: str) -> dict:
    """The published per-step curves for one dataset.

    Args:
        dataset: `"moving_mnist"`, `"kth"` or `"ucf101"`.

    Returns:
        `models`: `{name: {"mse": [...], "psnr": [...], "dssim": [...]}}`, ten steps each, metrics as in `METRICS`;
        `source` and `caveat`: notes to show beside them.

    Raises:
        ValueError: the dataset is unknown.

    Example:

    >>> len(published_results("kth")["models"]["fRNN"]["mse"])
    10

    Reference: https://arxiv.org/abs/1712.00311
    """
    datasets = _file()["datasets"]
    if dataset not in datasets:
        raise ValueError(f"There are published results for {sorted(datasets)}. Received: dataset={dataset!r}")
    models = {
        name: {metric: curve for metric, curve in values.items() if metric != "mean"}
        for name, values in datasets[dataset].items()
    }
    return {"models": models, "source": _file()["source"], "caveat": _file()["caveat"]}
