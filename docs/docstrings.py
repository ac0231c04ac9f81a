"""Converts docstrings of this package for mkdocstrings, which expects other sections and indented examples."""

import re

import griffe


class Docstrings(griffe.Extension):
    def on_object(self, *, obj, **kwargs):
        if obj.docstring:
            obj.docstring.value = readable(obj.docstring.value)


def readable(text: str) -> str:
    """Unknown sections get a bold title, their arguments become list items, and examples become code blocks."""
    lines, inside = [], False
    for line in text.split("\n"):
        title = re.match(r"((?:Call arguments|Input|Output|Args, Raises|Example|Reference)[\w ,]*):(.*)", line)
        if title:
            inside = True
            line = f"\n**{title[1]}:**{title[2]}"
        elif not line.startswith(" ") and line:
            inside = False
        elif inside:
            item = line.startswith("    ") and not line.startswith("     ")
            line = re.sub(r"^(\w+): ", r"\n- `\1`: ", line.strip()) if item else line.strip()
        lines.append(line)
    return re.sub(r"^>>> .*?(?=\n\n|\Z)", r"```pycon\n\g<0>\n```", "\n".join(lines), flags=re.DOTALL | re.MULTILINE)
