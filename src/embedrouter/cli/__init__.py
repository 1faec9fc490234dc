"""The command line. What a command needs beyond its options it imports when it runs, so that each starts fast."""

import typer

from embedrouter.cli import (
    backup,
    catalog,
    clustering,
    db,
    demo,
    doctor,
    embedding,
    index,
    keys,
    model,
    plot,
    ranking,
    secrets,
    server,
    usage,
    users,
    workspaces,
)
from embedrouter.cli.credits import app as credits_app

app = typer.Typer(
    name="embedrouter",
    help="Text embeddings that you run yourself: all-MiniLM-L6-v2 over the OpenRouter and OpenAI API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(server.serve)
app.command()(embedding.embed)
app.command(epilog=clustering.CLUSTER_EXAMPLES)(clustering.cluster)
app.command(epilog=clustering.DEDUPE_EXAMPLES)(clustering.dedupe)
app.command(epilog=ranking.RANK_EXAMPLES)(ranking.rank)
app.command(epilog=ranking.SIMILARITY_EXAMPLES)(ranking.similarity)
app.command(epilog=plot.PLOT_EXAMPLES)(plot.plot)
app.command()(embedding.bench)
app.command()(doctor.doctor)
app.command()(backup.backup)
app.command()(usage.usage)
app.command()(demo.demo)

# One module a group of commands, each with its Typer named `app`.
app.add_typer(index.app, name="index")
app.add_typer(keys.app, name="keys")
app.add_typer(credits_app, name="credits")
app.add_typer(catalog.app, name="catalog")
app.add_typer(users.app, name="users")
app.add_typer(workspaces.app, name="workspaces")
app.add_typer(db.app, name="db")
app.add_typer(model.app, name="model")
app.add_typer(secrets.app, name="secrets")


@app.command()
def version() -> None:
    """Print the version."""
    from embedrouter import __version__

    typer.echo(__version__)


def main() -> None:
    """The console script."""
    app()
