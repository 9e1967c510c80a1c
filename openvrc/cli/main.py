"""`vrc`: the one command. Each subcommand is a module that is imported only when it is used."""

from __future__ import annotations

import gc
import importlib
import sys
from typing import Any

import click

from openvrc.contracts.errors import VrcError

EXIT_FAILED = 1
EXIT_USAGE = 2
YOUNG_BEFORE_SEARCH = 50_000
"""Importing makes hundreds of thousands of objects and no cycles that could be freed: looking for
some after each 700, as Python does, is an eighth of what `vrc cloud` takes to start."""

COMMANDS = {
    "demo": (
        "openvrc.cli.demo",
        "Start everything at once; print the page's address and a summary",
    ),
    "simulate": ("openvrc.cli.simulate", "Publish a simulated world"),
    "replay": ("openvrc.cli.replay", "Publish a recording as its vehicles would have"),
    "record": ("openvrc.cli.record", "Write what is said over MQTT to a file"),
    "analyse": ("openvrc.cli.analyse", "Run the same detectors on recordings, without a server"),
    "edge": ("openvrc.cli.parts", "Run an edge aggregator"),
    "cloud": ("openvrc.cli.parts", "Run the cloud service"),
    "load": ("openvrc.cli.load", "Put a stated load on a broker and what is behind it"),
    "bench": ("openvrc.cli.bench", "Measure the data path beside a naive baseline"),
    "migrate": ("openvrc.cli.parts", "Bring the database to the current schema"),
    "zone": ("openvrc.cli.zone", "Make a zone from a map"),
    "schema": ("openvrc.cli.schema", "Write JSON Schema and AsyncAPI of every message"),
    "config": ("openvrc.cli.config", "Show each setting and where its value came from"),
    "inspect": ("openvrc.cli.inspect", "Show what every byte of a foreign frame means"),
    "trace": ("openvrc.cli.trace", "Tell where one message went"),
    "doctor": ("openvrc.cli.doctor", "Check what this machine and its servers offer"),
}
"""Name to (module, one line). The module has a click command of the same name."""


class LazyGroup(click.Group):
    """Imports a subcommand's module only when it is asked for: `vrc --help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's)
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The click command of a row."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table itself, so that --help imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="openvrc", prog_name="vrc")
def cli() -> None:
    """OpenVRC: vehicle-road-cloud telemetry, from the car to the alert."""


def main(argv: list[str] | None = None) -> Any:
    """Entry point. Exit codes: 0 fine, 1 failed, 2 usage, 3 a stated threshold was missed."""
    gc.set_threshold(YOUNG_BEFORE_SEARCH)
    from openvrc.embedded.errors import EmbeddedServerError

    try:
        return cli.main(argv, standalone_mode=True)
    except (VrcError, EmbeddedServerError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
