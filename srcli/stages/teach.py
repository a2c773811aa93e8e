"""``srcli pretrain teach``: fine-tune the embedded encoder on objects of the user's own, with all others as rehearsal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcli.errors import ConfigError, unknown_name
from srcli.pretraining.cache import Report, making, no_report

if TYPE_CHECKING:
    from torch import Tensor

    from srcli.config.pretrain import PretrainConfig
    from srcli.parallel import Executor
    from srcli.params import Params
    from srcli.perception.encoders.embedded import EmbeddedModel
    from srcli.pretraining.encoder.lexicon import Lexicon
    from srcli.pretraining.encoder.loop import Learner


_WARMUP = 20
_NORM_BATCHES = 30


@dataclass(frozen=True)
class TeachSummary:
    """What a run made.

    Attributes:
        weights: the safetensors file; its JSON sidecar lies beside it.
        sha256: of the weights.
        taught: names of the objects.
        before, after: validation with the weights at the start and at the end: keys prefixed ``taught/`` (the new objects),
            ``seen/`` and ``unseen/`` (the old ones, which must not be forgotten).
    """

    weights: Path
    sha256: str
    taught: tuple[str, ...]
    before: dict[str, float]
    after: dict[str, float]


def run(
    params: Params,
    names: Sequence[str],
    out: Path,
    cache: Path,
    *,
    start: str = "embedded",
    executor: Executor | None = None,
    report: Report = no_report,
) -> TeachSummary:
    """Render scenes that show the objects among those of the catalogue, train on all of them, measure before and after.

    Killed and started again it goes on from the last checkpoint.

    Args:
        names: objects of the user's library; none: all of them. Those that the start weights were taught come with them.
        out: ``*.safetensors`` to write.
        cache: folder for rendered scenes and checkpoints, in a folder for each set of objects.
        start: weights to go on from: ``embedded`` or ``seen-only`` for those of the package, or a file.
        executor: renders the scenes; None does it in this process.
        report: called with phase, done, total and values.

    Raises:
        ConfigError: there is nothing to teach, or an object is held out.
        UnknownNameError: no such object in the library.
        MissingAssetError, ArtifactError: the weights to start from are not there, or damaged.
        MismatchError: cache or checkpoint belong to other settings.
    """
    from srcli.artifacts.core import sidecar_path
    from srcli.artifacts.digests import config_digest
    from srcli.config.encoder import SEEN_ONLY
    from srcli.objects.library import library_folder, library_records
    from srcli.perception.encoders.embedded import load_embedded, weights_file
    from srcli.pretraining.encoder.lexicon import build_lexicon, widened
    from srcli.pretraining.encoder.loop import make_learner

    sidecar_path(out)
    start = start or "embedded"
    first = load_embedded(weights_file(start))
    if params.pretrain.hide_unseen and not first.hides_unseen:
        raise ConfigError(
            f"pretrain.hide_unseen: the weights '{start}' have learned from the unseen split's objects",
            f"teach weights that have not, such as --start {SEEN_ONLY}, or leave pretrain.hide_unseen off",
        )
    taught = checked(names, first.taught, first.hides_unseen)
    config = settings(params, start, first.hides_unseen)
    lexicon = widened(build_lexicon(config.hide_unseen, taught), first.vocabulary)
    learner = make_learner(config, lexicon)
    records = library_records(library_folder())
    # What is taught at another time, or to other weights, has scenes of its own.
    cache = cache / config_digest({"taught": {name: records[name] for name in taught}, "start": first.sha256})[:12]
    with making(out, cache, "scenes"):
        return _teach(params, config, learner, lexicon, first, taught, out, cache, executor, report)


def _teach(
    params: Params,
    config: PretrainConfig,
    learner: Learner,
    lexicon: Lexicon,
    first: EmbeddedModel,
    taught: tuple[str, ...],
    out: Path,
    cache: Path,
    executor: Executor | None,
    report: Report,
) -> TeachSummary:
    import torch

    from srcli.pretraining.encoder.lexicon import build_lexicon, token_rows
    from srcli.pretraining.encoder.loop import train
    from srcli.stages.pretrain import export, measure, render_all

    start = {name: value.clone() for name, value in learner.model.state_dict().items()}
    # A word may be known from language alone: what it looks like is learned now, as of one that was never read.
    shown = {*token_rows(build_lexicon(config.hide_unseen, first.taught), learner.tokenizer)}
    known = first.model.token_embedding.weight[list(learner.rows)].ne(0).any(dim=1)
    known &= torch.tensor([row in shown for row in learner.rows])
    render_all(config, params.sim, cache, report, taught=taught, executor=executor)
    before = measure(config, learner, lexicon, cache, taught)
    report("before", 1, 1, {name: value for name, value in before.items() if name.endswith("/patch")})
    last: dict[str, float] = {}

    def checkpointed(done: int, values: dict[str, float]) -> None:
        last.update(values)
        report("train", done, config.steps, values)

    train(config, learner, lexicon, cache / "train", cache / "checkpoint.safetensors", checkpointed, lambda step: None)
    kept = params.pretrain.teach.kept
    draw_back(learner.model, start, kept, known)
    refresh_norms(config, learner, lexicon, cache / "train")
    after = measure(config, learner, lexicon, cache, taught)
    parents = (*first.parents, first.sha256)
    digest = export(config, learner, lexicon, config.steps, after, out, parents, taught, before=before, kept=kept)
    return TeachSummary(out, digest, taught, before, after)


def draw_back(model: Any, start: Mapping[str, Tensor], kept: float, known: Tensor) -> None:
    """Average the weights with those before, which forgets less for little that was learned (Wortsman et al. 2022, WiSE-FT).

    Args:
        model: the trained one, changed in place.
        start: its state before training.
        kept: share of ``start`` in the average.
        known: (rows,) whether the encoder knew a token before; the rows of new ones stay as they were learned.
    """
    mixed = {}
    for name, value in model.state_dict().items():
        mixed[name] = start[name] + (1.0 - kept) * (value - start[name]) if value.is_floating_point() else value
    table = "token_embedding.weight"
    mixed[table] = mixed[table].where(known[:, None], model.state_dict()[table])
    model.load_state_dict(mixed)


def refresh_norms(config: PretrainConfig, learner: Learner, lexicon: Lexicon, folder: Path) -> None:
    """Measure the statistics of the batch norms anew: the average of two networks has its own, not the average of theirs."""
    import torch

    from srcli.perception.encoders.embedded import dense_forward
    from srcli.pretraining.encoder.batches import make_batch

    norms = [module for module in learner.model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all that is read
    learner.model.train()
    with torch.no_grad():
        for step in range(_NORM_BATCHES):
            dense_forward(learner.model, make_batch(config, folder, lexicon, config.steps + step).images)
    learner.model.eval()
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def checked(names: Sequence[str], before: Sequence[str] = (), hides_unseen: bool = False) -> tuple[str, ...]:
    """The objects to teach, sorted.

    Args:
        names: of the user's library; none: all of it.
        before: taught already; those that are still in the library are taught again, so that they are not forgotten.
        hides_unseen: the weights have never heard the names of the unseen split's objects, and shall not.

    Raises:
        ConfigError: there are none, or one is held out, or bears the name of one that is.
        UnknownNameError: no such object in the library.
    """
    from srcli.objects.catalogue import builtin_catalogue
    from srcli.objects.library import library_folder, read_library

    known = builtin_catalogue()
    held = {word for name in known.unseen for word in (known[name].label, *known[name].synonyms)} if hides_unseen else set()

    own = {entry.name: entry for entry in read_library(library_folder())}
    if not own:
        raise ConfigError("there are no objects of your own to teach", "add one first: srcli objects add FILE --name NAME")
    for name in names:
        if name not in own:
            raise unknown_name("object of your own", name, sorted(own))
    chosen = tuple(sorted((set(names) or set(own)) | (set(before) & set(own))))
    for name in chosen:
        if own[name].split == "unseen":
            raise ConfigError(
                f"object '{name}' is of the unseen split, which nothing may learn from",
                "add it again with --split user, or name the objects to teach",
            )
        if named := held & {own[name].label, *own[name].synonyms}:
            raise ConfigError(
                f"object '{name}' is called '{min(named)}', as one of the unseen split, whose names these weights never heard",
                "teach it to --start embedded, or add it again under another name",
            )
    return chosen


def settings(params: Params, start: str, hide_unseen: bool = False) -> PretrainConfig:
    """Section ``pretrain`` with the budget of ``pretrain.teach``; what the start weights do not know is not shown to them."""
    teach = params.pretrain.teach
    return params.pretrain.model_copy(
        update={
            "seed": teach.seed,
            "scenes": teach.scenes,
            "first_scenes": teach.scenes,
            "valid_scenes": teach.valid_scenes,
            "steps": teach.steps,
            "batch": teach.batch,
            "patches": teach.patches,
            "learning_rate": teach.learning_rate,
            "warmup": min(_WARMUP, teach.steps),
            "start": start,
            "hide_unseen": hide_unseen,
        }
    )
