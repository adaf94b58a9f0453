"""``textgate inspect``: profile a data source before anything is trained."""

import sys
from pathlib import Path

import click

from textgate.components.contracts import InputError
from textgate.components.sources import SourceUrls
from textgate.pipelines import recipes as shipped
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.recipe_draft import draft_recipe, require_new_file, require_source, write_recipe
from textgate.pipelines.cli.store_options import json_option, store_options
from textgate.pipelines.cli.yaml_file import YamlFile
from textgate.pipelines.terminal import Console
from textgate.pipelines.workspace import connect_source


@click.command(
    "inspect",
    epilog=example(
        "textgate inspect reviews.csv",
        "textgate inspect reviews.csv --text body --label stars --page reviews.html",
        "textgate inspect s3://textgate/reviews/ --tokenizer quickstart --recipe reviews.yaml",
    ),
)
@click.argument("source", metavar="FILE_OR_URI")
@click.option("--text", show_default="guessed", help="Name of the text column.")
@click.option("--label", show_default="guessed", help="Name of the label column.")
@click.option("--max-rows", type=click.IntRange(1), default=1_000_000, help="Number of rows to read.")
@click.option(
    "--tokenizer",
    metavar="RECIPE|FILE|URI",
    show_default="an estimate from words and punctuation marks",
    help="Recipe whose base model counts the tokens; or a tokenizer.json, a folder with one, or its URI.",
)
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), help="HTML page to write.")
@click.option("--recipe", "recipe_file", type=YamlFile(), help="Recipe file to write, as textgate init does.")
@click.option("--force", is_flag=True, help="Overwrite the recipe file if it exists.")
@store_options
@json_option
def inspect(
    source: str,
    text: str | None,
    label: str | None,
    max_rows: int,
    tokenizer: str | None,
    page: Path | None,
    recipe_file: Path | None,
    force: bool,
    workspace: Path,
    bucket: str,
    as_json: bool,
) -> None:
    """Profile a data source before a model is trained.

    FILE_OR_URI is what textgate init takes. The profile shows columns, rows that cannot be used, classes, lengths,
    languages, duplicates, conflicting labels, texts that two given splits share, and personal data; what is suspicious
    comes first, with the recipe keys that help. Nothing is sent anywhere, and no value of personal data is shown.
    """
    if recipe_file:
        require_new_file(recipe_file, force)
    source = SourceUrls().hide(source)
    require_source(source)
    source = connect_source(source, workspace, bucket)

    from textgate.pipelines.cli.inspection_tables import print_inspection
    from textgate.pipelines.inspection.analyse import inspect_source
    from textgate.pipelines.inspection.data_profile import require_two_labels

    counter = (tokenizer, _tokenizer_path(tokenizer)) if tokenizer else None
    with Console(file=sys.stderr).status(f"reading {source}"):
        result = inspect_source(source, text, label, max_rows, counter)
    if recipe_file:
        require_two_labels(result.profile.labels, result.profile.source)
        write_recipe(result.profile, recipe_file, force)
    if page:
        from textgate.pipelines.inspection.page import write_inspection_page

        can_draft = len(result.profile.labels) > 1
        write_inspection_page(page, result.inspection, draft_recipe(result.profile) if can_draft else None)
    if as_json:
        click.echo(result.inspection.model_dump_json())
    else:
        print_inspection(result.inspection, page, recipe_file)


def _tokenizer_path(tokenizer: str) -> Path:
    """Return the local file or folder of a tokenizer.

    Raises:
        InputError: There is none, or the recipe has no base model.
    """
    from textgate.components.sources import default_downloads, fetch

    uri = tokenizer
    if tokenizer in shipped.names() or tokenizer.endswith((".yaml", ".yml")):
        train = shipped.load(tokenizer).train
        uri = str(getattr(train, "base_model", ""))
        if not uri:
            raise InputError(f"the recipe {tokenizer} has no base model whose tokenizer could count: name another one")
    return fetch(uri, default_downloads())
