"""``srcli pretrain language``: the embedded encoder's text tower learns how people speak; its picture side stays as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ConfigError
from srcli.pretraining.cache import Report, making, no_report

if TYPE_CHECKING:
    from srcli.config.pretrain import LanguageTrainingConfig
    from srcli.learning.loop import Progress
    from srcli.params import Params


@dataclass(frozen=True)
class LanguageSummary:
    """What a run made.

    Attributes:
        weights: the safetensors file; its JSON sidecar lies beside it.
        sha256: of the weights.
        words: that are read.
        statements, held_back: learned from, and kept for measuring.
        wide: further sentences whose meaning the teacher told; 0 without one.
        before, after: of the statements held back, share whose closest name is meant (``statements``, and by kind); mean cosine
            of the names to where they were (``names_kept``).
    """

    weights: Path
    sha256: str
    words: int
    statements: int
    held_back: int
    wide: int
    before: dict[str, float]
    after: dict[str, float]


def check(config: LanguageTrainingConfig, out: Path, start: str) -> Path | None:
    """Refuse before anything is done what a run would refuse; the folder of the teacher's files, None without one.

    Raises:
        ConfigError: ``out`` is no ``.safetensors``.
        MissingAssetError: the weights to start from, or the teacher's, are not there.
    """
    from srcli.perception.encoders.embedded import require_weights, weights_file
    from srcli.pretraining.encoder.teacher import find_teacher

    if out.suffix != ".safetensors":
        raise ConfigError(f"weights are written as .safetensors, not '{out}'", "--out FILE.safetensors")
    require_weights(weights_file(start or "embedded"))
    return find_teacher(config.teacher)


def _told_of(weights: Path) -> dict[str, Any]:
    """What the sidecar of the weights before says: how their picture side was made, and how well it sees."""
    from srcli.artifacts.core import parse_json, sidecar_path

    beside = sidecar_path(weights)
    try:
        told: Any = parse_json(beside.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def run(params: Params, out: Path, cache: Path, *, start: str = "embedded", report: Report = no_report) -> LanguageSummary:
    """Train, measure before and after, write weights. Killed and started again it goes on from the last checkpoint.

    Policies that were trained with the weights it starts from take the new ones, with a warning: pictures are read as before.

    Args:
        out: ``*.safetensors`` to write.
        cache: folder for the checkpoint.
        start: ``embedded`` or ``seen-only`` for those of the package, or a file. Of objects that these have never met nothing is
            said.

    Raises:
        MissingAssetError, ArtifactError: the weights to start from, or the teacher's, are not there, or damaged.
        MismatchError: the checkpoint belongs to other settings.
    """
    from srcli.evaluation.freesentences import free_cases
    from srcli.objects import catalogue
    from srcli.perception.encoders.embedded import load_embedded, save_embedded, weights_file
    from srcli.pretraining.encoder.knowledge import load_knowledge
    from srcli.pretraining.encoder.lessons import make_language, make_lessons
    from srcli.pretraining.encoder.lexicon import build_lexicon
    from srcli.pretraining.encoder.reserved import Reserved
    from srcli.pretraining.encoder.teacher import load_teacher
    from srcli.pretraining.encoder.text_training import TextLearner, measure, train_text

    config = params.pretrain.language
    found = check(config, out, start)
    first = load_embedded(weights_file(start or "embedded"))
    lexicon = build_lexicon(first.hides_unseen, first.taught)
    reserved = Reserved(case.instruction for case in free_cases("free"))
    language = make_language(first, lexicon, load_knowledge(catalogue().seen if first.hides_unseen else None), reserved)
    teacher = None if found is None else load_teacher(found)
    with making(out, cache, "text"):
        lessons = make_lessons(config, language, first, teacher, cache, lambda done, of: report("teacher", done, of, {}))
        vocabulary = first.vocabulary | language.vocabulary | frozenset(lessons.words)
        learner = TextLearner(first, lexicon, vocabulary, lessons, config.seed)
        before = measure(learner, language)
        report("before", 1, 1, before)

        def told(now: Progress) -> None:
            report("train", now.update, now.updates, {"loss": now.mean_loss, **now.values})

        train_text(config, learner, language, lessons, cache / "text.safetensors", told)
        learner.model.eval()
        after = measure(learner, language)
        sidecar = {
            # Where the teacher lies on this machine says nothing; its digest does.
            "recipe": config.model_copy(update={"teacher": Path(config.teacher).name}).model_dump(mode="json"),
            "start_sha256": first.sha256,
            "start": _told_of(weights_file(start or "embedded")),
            "statements": len(language.train),
            "teacher_sha256": "" if teacher is None else teacher.sha256,
            "before": before,
            "after": after,
        }
        parents = (*first.parents, first.sha256)
        digest = save_embedded(
            learner.state(), learner.rows, vocabulary, out, sidecar, parents, first.taught, hides_unseen=first.hides_unseen
        )
    counts = (len(vocabulary), len(language.train), len(language.valid), len(lessons.wide))
    return LanguageSummary(out, digest, *counts, before, after)
