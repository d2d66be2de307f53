"""questions -> constants: a model that costs nothing, to measure all that is not the model."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ntvep.description import Description
from ntvep.models.loaded import LoadedModel
from ntvep.passes import Answers, Questions
from ntvep.provenance import ModelIdentity
from ntvep.tokenizers.blank import blank


@dataclass
class Null:
    """Answers every question with a constant.

    Attributes:
        dim: length of its hidden states.
        passes_run: how many passes it was asked for.
    """

    dim: int = 8
    passes_run: int = 0

    def answer(
        self, questions: Questions, on_passes: Callable[[int], None] | None = None
    ) -> Answers:
        """No pass is run."""
        self.passes_run += len(questions.inputs)
        if on_passes:
            on_passes(len(questions.inputs))
        return Answers(
            tokens=np.zeros(len(questions.tokens), np.float32),
            bases=np.zeros((len(questions.bases), 6, 4)),
            entropy=np.zeros(len(questions.entropy)),
            hidden=np.ones((len(questions.hidden), self.dim)),
            likelihood=np.zeros(len(questions.likelihood)),
            pooled=np.ones((len(questions.pooled), self.dim)),
        )


# What a published model of 6-mers says of itself; ids are of no vocabulary.
DESCRIPTION = Description(
    family="nt",
    objective="masked",
    tokenizer=blank({"k": 6}),
    vocabulary_sha256="0" * 64,
    layers=24,
    max_tokens=1_000,
    default_bases=5_994,
    trained_bases=5_994,
    step=6,
)


def null_model(dim: int = 8) -> LoadedModel:
    """It, in the place of a model of the published size."""
    identity = ModelIdentity.of(
        DESCRIPTION,
        model_id="null",
        revision=None,
        weights_sha256="0" * 64,
        precision="fp32",
        device="cpu",
    )
    return LoadedModel(Null(dim), DESCRIPTION, identity, "none")


def run(*arguments: str) -> None:
    """The command line of ntvep, with it in the place of any model.

    Raises:
        RuntimeError: the command failed.
    """
    from ntvep import cli
    from ntvep.commands import ready

    ready.load_model = lambda _, **options: null_model()
    ready.described = lambda _: (None, DESCRIPTION)
    sys.argv = ["ntvep", *arguments]
    try:
        cli.main()
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"ntvep {arguments[0]}: exit status {ended.code}") from ended
