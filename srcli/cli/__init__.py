"""The front door: ``srcli``, one file per subcommand."""

from __future__ import annotations


def main() -> None:
    """Entry point of the ``srcli`` command."""
    from srcli.cli.app import app

    app(prog_name="srcli")
