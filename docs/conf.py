"""Sphinx configuration: ``make docs`` builds the site into build/docs; every warning is an error."""

from pathlib import Path

from sphinx.application import Sphinx

from textgate import __version__

project = "textgate"
author = "the textgate developers"
release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = True
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"textgate {release}"
html_static_path = ["images"]


def _write_recipe_keys(_: object) -> None:
    """Generate the reference of the recipe's keys from the recipe's own schema."""
    from textgate.components.contracts.recipe.reference import recipe_keys, to_markdown

    title = "# Recipe keys\n\nGenerated from the recipe's schema; `textgate recipes keys` prints the same.\n\n"
    path = Path(__file__).parent / "reference" / "recipe-keys.md"
    path.write_text(title + to_markdown(recipe_keys()), "utf-8")


def setup(app: Sphinx) -> None:
    """Register the generated page."""
    app.connect("builder-inited", _write_recipe_keys)
