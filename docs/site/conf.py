"""README, docs and docstrings -> a site of static pages, built without a network: make docs.

The source folder is the repository, so that a link works here as it does in the repository.
"""

import shutil
import sys
from importlib.metadata import version as installed
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

project = "ntvep"
author = copyright = "The ntvep authors"
version = release = installed("ntvep")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "commands_page"]
root_doc = "README"
include_patterns = [
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md",
    "config/README.md", "docs/**.md", "benchmarks/*.md",
    "ntvep/demo/README.md", "ntvep/demo/*/README.md",
]  # fmt: skip
exclude_patterns = [".*", "build", "dist", "results", "tests", "**/__pycache__"]

# Every heading is an anchor of the name that a repository's page gives it.
myst_heading_anchors = 4
myst_enable_extensions = ["tasklist"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_typehints_description_target = "documented"
python_use_unqualified_type_names = True
# What other packages document needs their pages, and those a network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!ntvep\b).*"), ("py:.*", r"ntvep\..*\._\w+")]

html_theme = "furo"
html_title = "ntvep"
html_static_path = ["static"]
html_css_files = ["ntvep.css"]
html_show_sourcelink = False
html_copy_source = False
# Pygments knows no language of that name; these are lines of a terminal.
highlight_language = "text"

# Pages in the order of the sidebar; those that are not named here follow by name.
USE = (
    "docs/models", "docs/scores", "docs/recipes", "docs/exports", "docs/genome", "docs/api",
    "docs/labels", "docs/evaluation", "docs/hpc", "config/README", "docs/site/commands",
    "docs/site/python",
)  # fmt: skip
INSIDE = (
    "docs/architecture", "docs/reliability", "docs/dependencies", "benchmarks/README",
    "benchmarks/faults", "ntvep/demo/README", "ntvep/demo/gpn/README", "ntvep/demo/model/README",
    "CONTRIBUTING", "CHANGELOG",
)  # fmt: skip
_TREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def _add_tree(app, docname, source) -> None:
    """The sidebar, which a repository's README does without."""
    if docname == root_doc:
        found = set(app.env.found_docs)
        others = sorted(found - {root_doc, *USE, *INSIDE})
        more = [name for name in others if name.startswith("docs/")]
        rest = [name for name in others if not name.startswith("docs/")]
        for caption, names in (("Use", [*USE, *more]), ("Inside", [*INSIDE, *rest])):
            pages = "\n".join(f"/{name}" for name in names if name in found)
            source[0] += _TREE.format(caption=caption, pages=pages)


def _add_index(app, exception) -> None:
    """The first page under the name that a browser opens."""
    if exception is None and app.builder.name == "html":
        shutil.copyfile(Path(app.outdir, f"{root_doc}.html"), Path(app.outdir, "index.html"))


def setup(app) -> None:
    """Connect the two."""
    app.connect("source-read", _add_tree)
    app.connect("build-finished", _add_index)
