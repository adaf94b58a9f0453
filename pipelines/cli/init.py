"""``textgate init``: write a commented recipe for a data file."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from textgate.components.sources import SourceUrls
from textgate.pipelines.cli.help_text import example
from textgate.pipelines.cli.recipe_draft import MAX_LABELS_LISTED, require_new_file, require_source, write_recipe
from textgate.pipelines.cli.store_options import json_option, store_options
from textgate.pipelines.cli.yaml_file import YamlFile
from textgate.pipelines.workspace import connect_source


@click.command(
    epilog=example(
        "textgate init films.csv",
        "textgate init films.csv --text review --label sentiment -o films.yaml",
        "textgate init s3://textgate/data/imdb.csv -o imdb.yaml --force",
    )
)
@click.argument("source", metavar="FILE_OR_URI")
@click.option("-o", "--output", type=YamlFile(), default=Path("recipe.yaml"), help="Recipe file to write.")
@click.option("--text", show_default="guessed", help="Name of the text column.")
@click.option("--label", show_default="guessed", help="Name of the label column.")
@click.option("--force", is_flag=True, help="Overwrite the recipe file if it exists.")
@store_options
@json_option
def init(
    source: str,
    output: Path,
    text: str | None,
    label: str | None,
    force: bool,
    workspace: Path,
    bucket: str,
    as_json: bool,
) -> None:
    """Write a commented recipe for a data file.

    FILE_OR_URI is a CSV, TSV, JSONL or Parquet file, a folder of them or of one folder per class, or an s3://,
    https://, hf://, pypi:// or feedback:// URI. The text column, the label column and the labels are guessed from the
    data; the recipe trains TF-IDF with logistic regression and is ready for textgate run.
    """
    require_new_file(output, force)
    source = SourceUrls().hide(source)
    require_source(source)
    source = connect_source(source, workspace, bucket)

    from textgate.pipelines.inspection.data_profile import profile

    # What the readers print is no part of the answer of --json.
    with redirect_stdout(sys.stderr):
        data = profile(source, text, label)
    name = write_recipe(data, output, force)
    if as_json:
        found = {"text": data.source.text, "label": data.source.label, "labels": data.labels, "rows": data.rows}
        click.echo(json.dumps({"recipe": str(output), "name": name, **found}, ensure_ascii=False))
        return
    counts = [f"{value} ({count:,})" for value, count in data.labels.items()]
    more = f" and {len(counts) - MAX_LABELS_LISTED:,} more" if len(counts) > MAX_LABELS_LISTED else ""
    click.echo(f"wrote {output}: text column {data.source.text!r}, label column {data.source.label!r}")
    click.echo(f"labels: {', '.join(counts[:MAX_LABELS_LISTED])}{more}")
    click.echo(f"next: textgate run {output}")
