"""Writes docs/results.md, and its pictures, from the runs in runs/. No number in it is typed.

make demo && make results
"""

import json
import pathlib
import shutil

from keras_frnn import evaluation
from keras_frnn.files import atomic_path

ROOT = pathlib.Path(__file__).parent.parent
PICTURES = {
    "animation.gif": "What was given and what was predicted, beside the truth",
    "strip.png": "One sequence over time; +1 is the first predicted frame",
    "curves.png": "Scores by predicted frame",
}


def main():
    runs = sorted((ROOT / "runs").glob("*/results.json"))
    if not runs:
        raise SystemExit("There is no finished run in runs/. Run a recipe first, for example `make demo`.")
    text = "# Results\n\nWritten by `make results` from what the commands below left in `runs/`.\n"
    for path in runs:
        text += _section(path.parent.name, json.loads(path.read_text()))
        for picture in PICTURES:
            target = ROOT / "docs" / "figures" / f"{path.parent.name}-{picture}"
            with atomic_path(target) as temporary:
                shutil.copyfile(path.parent / picture, temporary)
    with atomic_path(ROOT / "docs" / "results.md") as temporary:
        temporary.write_text(text)


def _section(name: str, results: dict) -> str:
    settings, machine, mse = results["settings"], results["machine"], results["test_mse"]
    lines = [
        f"\n## {name}\n",
        f"    python recipes/{settings['recipe']}.py --preset={settings['preset']} --seed={settings['seed']}\n",
        "| | |",
        "| --- | --- |",
        f"| weights | {results['weights']:,} |",
        f"| training | {results['training_seconds']:.0f} s |",
        f"| machine | {', '.join(f'{key} {value}' for key, value in machine.items())} |",
        f"| test sequences | {results['test_sequences']} |",
        f"| test MSE | {mse['model']:.4f} |",
        f"| test MSE of copying the last frame | {mse['copy_last_frame']:.4f} |",
        f"| test MSE of all-black frames | {mse['black_frame']:.4f} |",
        f"| model / better of these two | {results['ratio_to_better_baseline']:.2f} |\n",
    ]
    for metric, definition in evaluation.METRICS.items():
        rows = {model: scores[metric] for model, scores in results["per_step"].items()}
        steps = range(1, len(next(iter(rows.values()))) + 1)
        lines += [f"{metric}: {definition}\n", f"| | {' | '.join(f'+{step}' for step in steps)} |"]
        lines.append("| --- |" + " ---: |" * len(steps))
        digits = 2 if metric == "psnr" else 4
        lines += [
            f"| {model.replace('_', ' ')} | {' | '.join(f'{value:.{digits}f}' for value in values)} |"
            for model, values in rows.items()
        ]
        lines.append("")
    lines += [f"![{caption}](figures/{name}-{picture})\n" for picture, caption in PICTURES.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
