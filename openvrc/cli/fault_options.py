"""The flags `--fault` and `--list-faults`, which every command that drives a world has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def fault_options(command: F) -> F:
    """Add both flags; the first arrives as `faults`, a tuple of texts that were checked."""
    for option in (
        click.option(
            "--list-faults",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_list,
            help="List the kinds of faults with their parameters",
        ),
        click.option(
            "--fault",
            "faults",
            multiple=True,
            callback=_checked,
            metavar="NAME[:param=value,...]",
            help="A fault of senders or network on top, may be repeated; see --list-faults",
        ),
    ):
        command = option(command)
    return command


def _list(context: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    if is_asked and not context.resilient_parsing:
        from simulator.faults.spec import listing

        click.echo(listing())
        context.exit()


def _checked(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...]:
    if texts:
        from simulator.faults.kind import FaultError
        from simulator.faults.spec import parse_all

        try:
            parse_all(texts)
        except FaultError as error:
            raise click.BadParameter(str(error)) from error
    return texts
