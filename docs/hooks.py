"""Hooks for MkDocs: pages from files outside docs/, generated in every build.

- The home page is the README.
- Every name in `keras_frnn.__all__` has a page `api/NAME.md`.
- A link to another file of the repository, `../keras_frnn/losses.py#L12`, leads to a page that shows the file. The same
  link works on GitHub.
"""

import ast
import pathlib
import posixpath
import re

from mkdocs.structure.files import File, InclusionLevel

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"
_LINK = re.compile(r"(\]\()(?!\w+:|#|/)([^)\s#]+)(#[^)\s]*)?(\))")
_SHOWN = (".py", ".md", ".toml", ".csv", ".json", ".cff")


def public_names() -> list[str]:
    """The modules of the public API."""
    for node in ast.parse((ROOT / "keras_frnn" / "__init__.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    raise ValueError("keras_frnn/__init__.py has no __all__.")


def on_config(config):
    config.nav = [*_present(config.nav), {"API": [{name: f"api/{name}.md"} for name in public_names()]}]
    return config


def on_files(files, config):
    def add(path: str, content: str, inclusion=InclusionLevel.INCLUDED):
        files.append(File.generated(config, path, content=content, inclusion=inclusion))

    add("index.md", _rewritten((ROOT / "README.md").read_text(), "README.md", "index.md"))
    for name in public_names():
        add(f"api/{name}.md", f"# keras_frnn.{name}\n\n::: keras_frnn.{name}\n")
    texts = {"README.md": (ROOT / "README.md").read_text()}
    texts |= {path.relative_to(ROOT).as_posix(): path.read_text() for path in DOCS.rglob("*.md")}
    for target in sorted({target for path, text in texts.items() for target in _outside(path, text)}):
        page = _page(target)
        if not target.endswith(".md"):
            language = {".py": "python", ".toml": "toml", ".json": "json"}.get(pathlib.Path(target).suffix, "text")
            text = f"```{language}\n{(ROOT / target).read_text()}\n```\n"
            content = f"---\nsearch: {{exclude: true}}\n---\n# {posixpath.basename(target)}\n\n`{target}`\n\n{text}"
        else:
            content = _rewritten((ROOT / target).read_text(), target, page)
        add(page, content, InclusionLevel.NOT_IN_NAV)
    return files


def on_page_markdown(markdown, page, config, files):
    if page.file.generated_by is None:
        return _rewritten(markdown, f"docs/{page.file.src_uri}", page.file.src_uri)
    return markdown


def _present(entry):
    """The navigation without entries for missing pages."""
    if isinstance(entry, list):
        return [kept for kept in map(_present, entry) if kept]
    if isinstance(entry, dict):
        return {title: kept for title, value in entry.items() if (kept := _present(value))}
    return entry if entry == "index.md" or (DOCS / entry).exists() else None


def _target(path: str, link: str) -> str:
    """The target of a link in a file, relative to the root of the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _outside(path: str, text: str) -> set[str]:
    targets = {_target(path, link) for _, link, _, _ in _LINK.findall(text)}
    return {t for t in targets if not t.startswith("docs/") and t.endswith(_SHOWN) and (ROOT / t).is_file()}


def _page(target: str) -> str:
    """The page that shows a file of the repository."""
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    if target == "README.md":
        return "index.md"
    return f"source/{target.removesuffix('.md')}.md"


def _rewritten(text: str, path: str, page: str) -> str:
    """A file's text with links adapted to its page."""

    def rewrite(match):
        before, link, anchor, after = match.groups()
        target = _target(path, link)
        if not (ROOT / target).is_file():
            return match[0]  # MkDocs reports broken links.
        link = posixpath.relpath(_page(target), posixpath.dirname(page) or ".")
        line = re.fullmatch(r"#L(\d+)(-L\d+)?", anchor or "")
        return f"{before}{link}{f'#__codelineno-0-{line[1]}' if line else anchor or ''}{after}"

    return _LINK.sub(rewrite, text)
