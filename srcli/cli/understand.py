"""``srcli understand``: what is taken from a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from srcli.cli.options import Assignments, Debug, Device, Encoder, Json, ParamsFile
from srcli.cli.running import command, encoder_flags, parameters, torch_device

if TYPE_CHECKING:
    from srcli.evaluation.understanding import Half, Understood

LONGEST = 200
"""Characters of a sentence that are shown."""


@command
def understand(
    sentence: Annotated[str, typer.Argument(help="A sentence, in quotes.", show_default=False)],
    params: ParamsFile = None,
    names: Annotated[int, typer.Option("--names", "-n", help="Closest names of each half.", min=1, max=100)] = 5,
    encoder: Encoder = None,
    assignments: Assignments = None,
    device: Device = "cpu",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what is taken from a sentence: halves, relation, words read, corrected and unknown, the closest names."""
    values = parameters(params, encoder_flags(encoder), assignments or ())
    place = torch_device(device)
    from srcli.cli.output import emit
    from srcli.stages import understand as stage

    found = stage.run(values, sentence, count=names, device=place)
    if as_json:
        emit(found, True)
        return
    for line in told(found):
        typer.echo(line)


def told(found: Understood) -> list[str]:
    """One screen."""
    rows = [("said", _cut(found.sentence))]
    if found.read_as != found.sentence:
        rows.append(("read as", _cut(found.read_as)))
    if found.corrected:
        rows.append(("corrected", _cut(", ".join(f'"{typed}" as "{read}"' for typed, read in found.corrected))))
    if found.unknown:
        rows.append(("unknown", _cut(", ".join(found.unknown))))
    if not found.something:
        rows.append(("understood", "nothing: no word names an object, a kind, a look or a use that the encoder has read"))
        return _aligned(rows)
    if found.pick is not None:
        rows += [("pick", _cut(found.pick.text)), *_denied(found.pick), *_names(found.pick)]
    if found.place is not None:
        rows.append(("place", _cut(found.place.text)))
    if found.relation:
        rows.append(("relation", f"{found.relation} ({found.region} the reference)"))
        rows.append(("reference", found.reference))
    elif found.place is not None:
        rows.append(("relation", "none that is known"))
    if found.place is not None:
        rows += [*_denied(found.place), *_names(found.place)]
    return _aligned(rows)


def _cut(text: str) -> str:
    """The text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}".rstrip() for name, text in rows]


def _denied(half: Half) -> list[tuple[str, str]]:
    return [("but not", half.denied)] if half.denied else []


def _names(half: Half) -> list[tuple[str, str]]:
    rows = [("", "closest names: " + ", ".join(f"{named.name} {named.closeness:.2f}" for named in half.names))]
    return [*rows, ("unsure", "no name is close: what is taken is a guess")] if half.guess else rows
