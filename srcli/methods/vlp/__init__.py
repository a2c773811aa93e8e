"""VLP: a placement map from the references and relations that a sentence names.

Visual-language placing (Xu et al., "Object-centric Inference for Language Conditioned Placement: A Foundation Model based
Approach", ICARM 2023, arXiv 2304.02893). There is no public code, and the forms of its heads are not published: they are
reconstructed here.

1. A parser takes pairs of a relation and a reference from the sentence (published: a language model).
2. Reference grounding: cosines of things with the reference's text, a softmax with a learned temperature.
3. Relation grounding: the relation's words become (mu_r, sigma_r, mu_theta, kappa), a distribution in polar coordinates around a
   thing. Distances count in units of the thing's half size plus that of what is held.
4. The map is the product over the pairs of the mixtures over the things, in logarithms and with a floor; the place is its best
   free cell. Free cells are the candidates of the action prior.
5. Trained by the negative log-likelihood of the demonstrated place, normalised over the free cells.

What else differs: things are regions of the encoder's cells instead of a detector's boxes; the relation is read by one learned
query from the token features of its half of the sentence, because of a demonstration the relation's words are not stored alone.
"""

from __future__ import annotations

from srcli.methods import WHOLE_VIEWS
from srcli.methods.base import MethodSpec
from srcli.methods.vlp.section import VlpConfig

SPEC = MethodSpec(
    name="vlp",
    title="VLP",
    tasks=frozenset({"place"}),
    build="srcli.methods.vlp.policy:build",
    fit="srcli.methods.vlp.training:fit",
    reads="features",
    section=VlpConfig,
    acts_with=("regions",),
    fidelity="adapter",
    source="VLP (Xu et al., ICARM 2023, arXiv 2304.02893), from its description; polar heads reconstructed, regions for boxes",
    paper_row="VLP",
    shares=(*WHOLE_VIEWS, "learning/regions.py"),
)
