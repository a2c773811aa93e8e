"""What counts as right of a sentence, whether it came of it, and the case that it makes. The simulator's knowledge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from srcli.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from srcli.evaluation.open_scene import Layout
    from srcli.stages.play.turns import Turn

WORDS, MEANT = "its words", "meant"


def expect(turn: Turn, layout: Layout, reading: str) -> None:
    """Note what counts by the words of a sentence.

    Args:
        layout: what lay where when it was said.
        reading: the sentence as it was read, typing errors corrected.
    """
    from srcli.evaluation.intent import stands_for
    from srcli.language.relations import parse_place, split_instruction

    pick, place = split_instruction(reading)
    if not layout.held and pick:
        turn.targets = tuple(layout.pick[i].slot for i in stands_for(pick, [item.name for item in layout.pick]))
    phrase = parse_place(reading) if turn.placing and place else None
    if phrase is not None:
        turn.relation, turn.reference = phrase.relation, phrase.reference
        found = stands_for(phrase.reference, [item.name for item in layout.place])
        turn.references = tuple(layout.place[i].slot for i in found)
    turn.counted_by = WORDS if turn.targets or turn.references else ""


def correct(turn: Turn, layout: Layout, name: str) -> None:
    """Note what counts by what a person says that the sentence meant.

    Args:
        name: of objects that lay there; those in the place zone are what a placement was to be put at.

    Raises:
        ConfigError: the sentence was not about what lies there.
        UnknownNameError: nothing of that name lay there.
    """
    from srcli.evaluation.intent import stands_for

    wanted = " ".join(name.split()).lower()
    lying = [*layout.pick, *layout.place]
    exact = {item.slot for item in lying if wanted in (item.name, label(item.name))}
    slots = exact or {lying[i].slot for i in stands_for(wanted, [item.name for item in lying])}
    if not slots:
        raise unknown_name("object of this scene", wanted, {label(item.name) for item in lying})
    places = slots & {item.slot for item in layout.place} if turn.placing else set()
    if layout.held and not places:
        raise ConfigError(f"the sentence was about where to put the {label(layout.held)}", "name what it should have been put at")
    if places:
        turn.references = tuple(sorted(places))
    if slots - places:
        turn.targets = tuple(sorted(slots - places))
    turn.counted_by = MEANT


def right(turn: Turn) -> bool | None:
    """Whether what counts came of it; None where nothing was held, or where it is not known what counts."""
    from srcli.language.relations import RELATIONS
    from srcli.tasks.regions import satisfied

    if turn.taken is not None:
        if not turn.targets:
            return None
        if turn.taken not in turn.targets:
            return False
        if not turn.placing:
            return True
    if turn.put is None or not turn.relation or not turn.references:
        return None
    put, region = turn.put, RELATIONS[turn.relation].region
    return any(satisfied(region, put.slot, other, put.outlines, put.contacts) for other in turn.references)


def counted(turn: Turn) -> list[str]:
    """What the objects that count are called."""
    if turn.layout is None:
        return []
    named = {item.slot: item.name for item in (*turn.layout.pick, *turn.layout.place)}
    return sorted({label(named[slot]) for slot in (*turn.targets, *turn.references) if slot in named})


def told(turn: Turn) -> str:
    """What counts, by what, and whether it came of it."""
    found = counted(turn)
    if not found:
        return "nothing in the scene carries its words; meant NAME says what it meant"
    verdict = {True: ": right", False: ": wrong", None: ""}[right(turn)]
    missing = "; meant NAME says where it should be put" if turn.relation and not turn.references else ""
    return f"{', '.join(found)}, by {turn.counted_by}{verdict}{missing}"


def case_of(turn: Turn, layout: Layout) -> Mapping[str, Any]:
    """The sentence as a case of our own format.

    Raises:
        NoCase: it is not known what counts, or a case cannot hold it.
    """
    from srcli.evaluation.casewriting import NoCase, case_entry, case_name

    if not layout.held and not turn.targets:
        raise NoCase("it is not known what it meant to take (meant NAME says it)")
    if turn.placing and not turn.relation:
        raise NoCase("its words name no relation that is known")
    if turn.placing and not turn.references:
        raise NoCase("it is not known where it should be put (meant NAME says it)")
    name = case_name(turn.number, turn.sentence)
    return case_entry(name, turn.sentence, layout, turn.targets, turn.references, turn.relation, turn.reference)


def label(name: str) -> str:
    """What an object of the catalogue is called."""
    from srcli.objects import catalogue

    return catalogue()[name].label
