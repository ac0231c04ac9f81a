"""The section of docs/results.md on the comparison by recipes/study.py. All numbers come from its results."""

import numpy as np

COPY = "copy_last_frame"
_EQUAL = {"arithmetic": "Equal arithmetic", "sequences": "Equal sequences"}


def section(study: dict) -> str:
    setting = study["setting"]
    lines = [
        "\n## A scaled-down version of the paper's comparison\n",
        f"    {study['command']}\n",
        f"Two digits on {setting['size']}x{setting['size']} pixels, 10 given and 10 predicted frames. Adam on "
        f"cross-entropy, batch {setting['batch_size']}. Each network was trained with {setting['seeds']} seeds for "
        f"{setting['tmac']:g} TMAC (10^12 multiply-accumulates of forward passes), and again with the number of "
        f"sequences that RLadder sees in that budget. Scores are means over {setting['test_sequences']} test "
        "sequences and all predicted frames; brackets show the best and the worst seed. The networks and trainings are "
        "small, and the verdicts hold only for these numbers. RLadder's pre-training, on moving letters for half as "
        "many steps, is not counted. Seeds 0 and 2 were trained with the training sequences of version 0.2, seed "
        "1 with those of 0.3, since its sequences in 0.2 had the motion of the test.\n",
        f"Machine: {', '.join(f'{key} {value}' for key, value in study['machine'].items())}. Times are CPU times, "
        "since other programs ran on the machine.\n",
    ]
    for equal, title in _EQUAL.items():
        lines += [f"### {title}\n", *_table(study, equal), ""]
    lines += ["![Scores by predicted frame, mean and range over trainings](figures/study-curves.png)\n"]
    lines += ["![One test sequence, networks of equal arithmetic](figures/study-strip.png)\n"]
    lines += ["### Layers removed after training\n", *_layer_removal(study), ""]
    lines += [
        "### The paper's claims and these numbers\n",
        "| claim | verdict | numbers |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {claim} | **{verdict}** | {numbers} |" for claim, verdict, numbers in claims(study)]
    return "\n".join(lines) + "\n"


def _runs(study: dict, network: str, equal: str) -> list[dict]:
    # Both comparisons use the same trainings of RLadder.
    return [
        run
        for run in study["runs"]
        if run["network"] == network and (run["equal"] == equal or network.startswith("RLadder"))
    ]


def _scores(study: dict, network: str, equal: str, metric: str = "mse") -> np.ndarray:
    """`(seeds, steps)`."""
    return np.array([run["scores"][network][metric] for run in _runs(study, network, equal)])


def _copy(study: dict, metric: str = "mse") -> np.ndarray:
    return np.array(study["runs"][0]["scores"][COPY][metric])


def _networks(study: dict) -> list[str]:
    return list(dict.fromkeys(run["network"] for run in study["runs"]))


def _range(values: np.ndarray, digits: int = 4) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{values.mean():.{digits}f} ({values.min():.{digits}f} to {values.max():.{digits}f})"


def _table(study: dict, equal: str) -> list[str]:
    header = ["", "MSE", "DSSIM", "MSE +1", "MSE +10", "sequences", "TMAC", "parameters", "CPU s", "memory GB"]
    lines = [f"| {' | '.join(header)} |", "| --- |" + " ---: |" * (len(header) - 1)]
    for network in _networks(study):
        runs = _runs(study, network, equal)
        mse, dssim = (_scores(study, network, equal, metric) for metric in ("mse", "dssim"))
        cells = [network, _range(mse.mean(1)), _range(dssim.mean(1)), f"{mse[:, 0].mean():.4f}"]
        cells += [f"{mse[:, -1].mean():.4f}", f"{runs[0]['sequences']:,}", f"{runs[0]['tmac']:.2f}"]
        cells += [f"{runs[0]['weights']:,}", f"{np.mean([run['processor_seconds'] for run in runs]):.0f}"]
        cells += [f"{np.mean([run['peak_memory_bytes'] for run in runs]) / 1e9:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    mse, dssim = _copy(study), _copy(study, "dssim")
    cells = [COPY, f"{mse.mean():.4f}", f"{dssim.mean():.4f}", f"{mse[0]:.4f}", f"{mse[-1]:.4f}", *[""] * 5]
    return [*lines, f"| {' | '.join(cells)} |"]


def _layer_removal(study: dict) -> list[str]:
    """The table for the fRNN with equal arithmetic."""
    runs = _runs(study, "fRNN", "arithmetic")
    lines = ["| fRNN cut to | MSE | DSSIM | MSE +1 | MSE +10 |", "| --- | ---: | ---: | ---: | ---: |"]
    for depth in (name for name in runs[0]["layer_removal"] if name != COPY):
        mse, dssim = (np.array([run["layer_removal"][depth][metric] for run in runs]) for metric in ("mse", "dssim"))
        cells = [
            depth,
            _range(mse.mean(1)),
            _range(dssim.mean(1)),
            f"{mse[:, 0].mean():.4f}",
            f"{mse[:, -1].mean():.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _less(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Confirmed if every training of ours is better than every one of theirs."""
    if ours.max() < theirs.min():
        return "confirmed"
    return "not confirmed: the opposite" if theirs.max() < ours.min() else "not confirmed: trainings overlap"


def claims(study: dict) -> list[tuple[str, str, str]]:
    """The paper's claims, each with a verdict and the numbers behind it."""
    found = []
    for equal, title in _EQUAL.items():
        ours, theirs = (_scores(study, name, equal).mean(1) for name in ("fRNN", "RLadder pre-trained"))
        found.append(
            (
                f"fRNN predicts Moving MNIST better than the pre-trained RLadder ({title.lower()})",
                _less(ours, theirs),
                f"MSE {_range(ours)} against {_range(theirs)}",
            )
        )
    scratch, trained = (_scores(study, name, "arithmetic").mean(1) for name in ("RLadder", "RLadder pre-trained"))
    found.append(
        (
            "RLadder needs pre-training to learn Moving MNIST",
            _less(trained, scratch),
            f"MSE pre-trained {_range(trained)}, from scratch {_range(scratch)}, copying {_copy(study).mean():.4f}",
        )
    )
    ours, theirs = (_scores(study, name, "arithmetic") for name in ("fRNN", "RLadder pre-trained"))
    ours, theirs = ours[:, -1] / ours[:, 0], theirs[:, -1] / theirs[:, 0]
    found.append(
        (
            "Errors of fRNN grow less from step to step than RLadder's",
            _less(ours, theirs),
            f"MSE at +10 over MSE at +1: {_range(ours, 2)} against {_range(theirs, 2)}",
        )
    )
    for what, key, unit, scale in (
        ("arithmetic", "gmac_a_sequence", "GMAC per sequence", 1),
        ("memory in training", "peak_memory_bytes", "GB, most of which TensorFlow itself uses", 1e9),
    ):
        ours, theirs = (
            np.array([run[key] / scale for run in _runs(study, network, "arithmetic")])
            for network in ("fRNN", "RLadder")
        )
        numbers = f"{ours.mean():.2f} against {theirs.mean():.2f} {unit}"
        found.append((f"fRNN needs less {what} than RLadder", _less(ours, theirs), numbers))
    runs = _runs(study, "fRNN", "arithmetic")
    depths = [name for name in runs[0]["layer_removal"] if name != COPY]
    cut = np.array([[np.mean(run["layer_removal"][depth]["mse"]) for run in runs] for depth in depths])
    found.append(
        (
            "Deep layers can be removed after training, and the remaining network still predicts",
            _less(cut[1:], np.array([_copy(study).mean()])),
            f"MSE {', '.join(f'{d} {m:.4f}' for d, m in zip(depths, cut.mean(1), strict=True))}, "
            f"copying {_copy(study).mean():.4f}",
        )
    )
    ours = _scores(study, "fRNN", "arithmetic").mean(1)
    found.append(
        (
            "fRNN predicts better than repeating the last frame",
            _less(ours, np.array([_copy(study).mean()])),
            f"MSE {_range(ours)} against {_copy(study).mean():.4f}",
        )
    )
    videos = "requires the videos and a GPU: `recipes/kth_frnn.py`, `recipes/ucf101_frnn.py` and their RLadder twins"
    found.append(("fRNN is best on UCF101 and competitive on KTH", "not testable here", videos))
    return found
