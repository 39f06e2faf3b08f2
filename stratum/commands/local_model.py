"""`stratum local-model`: serve a stand-in for a model."""

from argparse import Namespace

from stratum.commands.project import Subcommands


def add(commands: Subcommands) -> None:
    parser = commands.add_parser(
        "local-model", help="serve a rule-based stand-in for a model on 127.0.0.1"
    )
    parser.add_argument("--port", type=int, default=8765, help="the port (default: 8765)")
    parser.set_defaults(run=run)


def run(chosen: Namespace) -> int:
    from stratum.testing.local_model import serve

    serve(chosen.port)
    return 0
