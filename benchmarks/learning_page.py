"""Writes the tables of docs/learning.md from the results of learning.py, readability.py and limits.py.

python benchmarks/learning_page.py
"""

import ast
import collections
import csv
import pathlib
import re
import shlex

from keras_frnn.files import atomic_path

_ROOT = pathlib.Path(__file__).parents[1]
_RESULTS = _ROOT / "benchmarks" / "results"
_PAGE = _ROOT / "docs" / "learning.md"


def rows_of(name: str) -> list[dict]:
    with (_RESULTS / name).open() as file:
        return list(csv.DictReader(file))


def settings(command: str) -> dict[str, list[str]]:
    """The values of each flag of a command; repeated flags have several."""
    values = collections.defaultdict(list)
    for argument in shlex.split(command)[2:]:
        name, value = argument.removeprefix("--").split("=", 1)
        values[name].append(value)
    return dict(values)


def described(topology: str) -> str:
    return ", ".join(
        f"{kind} {'x'.join(map(str, numbers[:1]))}" + (f" ({numbers[1]}x{numbers[1]})" if len(numbers) > 1 else "")
        for kind, *numbers in ast.literal_eval(topology)
    )


def training(given: dict[str, list[str]]) -> list[str]:
    """How the training of a trial differs from the page's defaults."""
    words = {
        "optimizer": "{}",
        "rate": "rate {}",
        "context": "{} given",
        "horizon": "{} predicted",
        "batch_size": "batch {}",
        "loss": "loss {}",
        "dssim": "loss + {} DSSIM",
    }
    told = [
        text.format(*given[key])
        for key, text in words.items()
        if key in given and (key, given[key]) != ("batch_size", ["2"])
    ]
    if "initial" in given:
        told.append(f"from {' and '.join(pathlib.Path(path).parent.name for path in given['initial'])}")
    return told


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "| --- |" + " ---: |" * (len(header) - 1)]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def trials() -> str:
    header = ["network", "frames", "TMAC", "steps", "parameters", "MSE / copy", "DSSIM / copy", "DSSIM +1, +5, +10"]
    rows = []
    for row in rows_of("learning.csv"):
        given = settings(row["command"])
        (network,) = map(described, given["topology"])
        (size,) = given.get("size", ["32"])
        steps = ", ".join(f"{float(row[f'dssim_{step}']):.3f}" for step in (1, 5, 10))
        rows.append(
            [
                "; ".join([network, *training(given)]),
                f"{size}x{size}",
                row["tmac"],
                f"{int(row['steps']):,}",
                f"{int(row['weights']):,}",
                row["mse_to_copy"],
                row["dssim_to_copy"],
                steps,
            ]
        )
    return table(header, rows)


def readability() -> str:
    rows = rows_of("readability.csv")
    return table(list(rows[0]), [[value.replace("_", " ") for value in row.values()] for row in rows])


def limits() -> str:
    rows = rows_of("limits.csv")
    return table(list(rows[0]), [list(row.values()) for row in rows])


def commands() -> str:
    return "```\n" + "\n".join(row["command"] for row in rows_of("learning.csv")) + "\n```"


def main():
    text = _PAGE.read_text()
    for name, write in {"trials": trials, "readability": readability, "limits": limits, "commands": commands}.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        content = f"{begin}\n\n{write()}\n\n{end}"
        text, count = pattern.subn(lambda _, content=content: content, text)
        if count != 1:
            raise SystemExit(f"{_PAGE} must have one pair of {begin} and {end}. Found: {count}")
    with atomic_path(_PAGE) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    main()
