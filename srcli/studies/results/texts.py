"""What docs/results.md says around its tables."""

from __future__ import annotations

TASKS = {"pick": "Picking", "place": "Placing", "pick_place": "Pick-and-place"}

PURPOSE = {
    ("wide", "pick"): "Does the grasp go to what the sentence names, among fifteen piled objects? Within eight attempts even a "
    "random candidate succeeds often, so the first attempt says more.",
    ("wide", "place"): "Does what is held come to rest where the relation says? There is one attempt.",
    ("wide", "pick_place"): "Both halves in one sentence: the right object, then the right place.",
    ("compositional", "pick"): 'Sentences that need more than one word: "the red cup" among red things and other cups, two of a '
    "kind told apart by what they lie next to, superlatives. Does a method read more than how well one word fits a point?",
    ("free", "pick"): "Sentences as people say and type them, written before any work on vocabulary and kept aside: purposes, "
    "situations, descriptions, negation, typing errors, telegrams, long politeness. Each sentence twice.",
}
"""What a table is for, by suite and task."""
OTHER_SUITES = {
    "wide": "Generated scenes, each once.",
    "paper": "The fixed test cases, repeated.",
    "development": "The scenes that choices are made on.",
}

HARDER = "The harder row: neither the encoder nor a policy has seen the unseen objects or read their names."

PAPERS = (
    "The paper's networks (SR with its sparse branch normalised) at one attempt: SR chooses by 2-Align alone; *with quality* "
    "adds 24 times the logarithm of the grasps' quality, as an action prior gives it. These rows say what the paper's mechanism "
    "learns, those above what is worth using."
)

INTRODUCTION = """\
# Results

Written by `srcli results` (`make results`) from [results.json](results.json), which holds every number and what it stands on; not
edited by hand. A test compares it with the package: when code, weights or defaults have changed since, it fails and says which
number is older. Finished episodes are kept in `runs/results`: a run that was stopped goes on, and `srcli results --dry-run`
says what is missing.

## How to read the tables

- **success**: episodes that succeeded by simulation, with all attempts: k/n, percent, and the {level}% interval (Wilson; where
  test cases repeat, whole cases resampled). Scenes that could not be set up count as failures.
- **first attempt**: those that needed no second attempt in any phase. **steps**: mean attempts over all episodes / over
  successful ones.
- **to {reference}**, **to its control**: difference in points on the same scenes, at the first attempt where there are several,
  with the interval of a bootstrap over scenes. An interval that contains 0 is no difference that was shown.
- *italic rows* are controls: the method of the row above with its initial weights, the mean of {initialisations} initialisations.
  What a method has learned is what it does better than its control.
- **random candidate** takes any candidate of the action prior, and is what chance reaches; **similarity rule** takes the
  candidate nearest to the point most similar to the sentence, without any network; rows with * are told the simulator's
  truth. **expert**, the demonstrator, takes the candidate nearest to the centre of a target, whatever its quality, so what looks
  for good grasps can pass it. **oracle** takes the candidate of best quality that lies on a target: what hearing every sentence
  right would reach with these candidates and this quality. It is no upper bound, either: where the
  best-rated grasp on a target fails, another may hold.
- Networks of different parts had different training budgets (last table): compare rows of one part."""

UNLEARNED = (
    "**{title}** was not shown to be better than its untrained control in {places}: there the numbers show what was built in, "
    "not what was learned."
)

LIMITS = (
    "Each learned row is one training. Intervals are over scenes; another training of the same method may differ by more.",
    "Everything happens in simulation, with objects, scenes and sentences of this package. Numbers of the paper were taken on "
    "other scenes; none of them stands here.",
    "Generated scenes are drawn as the demonstrations were: they show what is learned of such scenes, not what becomes of it "
    "elsewhere.",
    "Where success with all attempts is near 100%, it tells methods apart no more; the first attempt still does.",
    "Rows choose with the rules of their method beside the network; what each part is worth is measured by "
    "`srcli ablate --study attribution` ([studies.md](studies.md)).",
    "Intervals and differences are not corrected for how many of them stand here: about one in twenty differences would leave 0 "
    "out by chance.",
)

DIGESTS = "Digests are beginnings of SHA-256, longer in results.json; those of code leave out comments, docstrings and layout."

README_NOTE = (
    "Percent right at the first attempt [{level}% interval] (the same method untrained, mean of {initialisations}). {scenes} "
    "scenes, the same for all rows. * is told the simulator's truth. All numbers, and what they do not show: "
    "[docs/results.md](docs/results.md)."
)
