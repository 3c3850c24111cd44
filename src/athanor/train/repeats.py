"""Weight decay for a text that is read more than once.

In: the settings of a run and how it reads its text. Out: the same settings with weight decays filled in where there are
none. A run that reads every page once has nothing to unlearn, and decay costs it a little; one that reads them seven
times ends .1 bits per byte worse without (docs/log.md; Kim et al. 2025, "Pre-training under infinite compute").

What carries over between runs is the time in which decay alone would shrink a weight to 1/e, counted in passes over the
text (Wang & Aitchison 2024, "How to set AdamW's weight decay as you scale model and dataset size"): 1 / (rate x decay)
steps. The times below are those of the sweep in benchmarks/quality.py.
"""

from dataclasses import replace

from athanor.train.config import AdamW, Muon, PretrainFit

MATRIX_PASSES = 0.25  # Muon .02 x .3, with 680 steps a pass
EMBEDDING_PASSES = 0.15  # .2 x .05
HEAD_PASSES = 0.6  # 5e-3 x .5
FIRST_EPOCHS, FULL_EPOCHS = 1.0, 5.0  # none up to the first, all of it from the second
SHORTEST = 50.0  # steps: a text of a few rows would be forgotten before it comes round


def with_decay(fit: PretrainFit, epochs: float) -> tuple[PretrainFit, dict[str, float]]:
    """`fit` with weight decay for `epochs` passes over the text, and what was filled in by name; given ones stay.

    >>> _, found = with_decay(PretrainFit(num_steps=4400), 6.5)
    >>> {name: round(decay, 3) for name, decay in found.items()}
    {'muon.weight_decay': 0.295, 'adamw.embedding_weight_decay': 0.049, 'adamw.head_weight_decay': 0.492}
    """
    share = min(max((epochs - FIRST_EPOCHS) / (FULL_EPOCHS - FIRST_EPOCHS), 0.0), 1.0)
    if share == 0.0 or fit.muon is None:
        return fit, {}
    steps_of_pass = fit.num_steps / epochs

    def decay(passes: float, lr_peak: float) -> float:
        return share / (lr_peak * max(passes * steps_of_pass, SHORTEST)) if lr_peak > 0 else 0.0

    found: dict[str, float] = {}
    muon: Muon = fit.muon
    adamw: AdamW = fit.adamw
    if muon.weight_decay == 0:
        found["muon.weight_decay"] = decay(MATRIX_PASSES, muon.lr_peak)
        muon = replace(muon, weight_decay=found["muon.weight_decay"])
    if adamw.embedding_weight_decay == 0:
        rate = adamw.embedding_lr_peak or adamw.lr_peak
        found["adamw.embedding_weight_decay"] = decay(EMBEDDING_PASSES, rate)
        adamw = replace(adamw, embedding_weight_decay=found["adamw.embedding_weight_decay"])
    if adamw.head_weight_decay == 0:
        found["adamw.head_weight_decay"] = decay(HEAD_PASSES, adamw.head_lr_peak or adamw.lr_peak)
        adamw = replace(adamw, head_weight_decay=found["adamw.head_weight_decay"])
    return replace(fit, muon=muon, adamw=adamw), found
