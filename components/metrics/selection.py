"""Correction of a score for the selection among models that were judged on the same texts.

Of many equally good models, one that looks good on the test texts by chance is chosen, so its score is too high. A
posterior mean is not: it does not depend on how the model was chosen, as far as its prior is right (Dawid, Selection
paradoxes of Bayesian inference, 1994; Efron, Tweedie's formula and selection bias, JASA 106, 2011). Two kinds of prior
are mixed:

- The model is one of the population of all judged models: empirical Bayes shrinkage towards their mean (Efron and
  Morris, Data analysis using Stein's estimator and its generalizations, JASA 70, 1975). The variance of the population
  is that of DerSimonian and Laird (Meta-analysis in clinical trials, Controlled Clinical Trials 7, 1986), except that
  only what exceeds the 95 % quantile of chance counts. Otherwise a chance spread of few scores would undo the
  correction in half of the cases.
- With probability 1 / (models + 1) it is a new kind of model with any score, so that a real improvement stays visible
  (the mixture of Johnstone and Silverman, Needles and straw in haystacks, Annals of Statistics 32, 2004).
"""

import numpy as np
from scipy.stats import chi2, norm

from textgate.components.metrics.classification import Floats

_QUANTILE = 0.95


def corrected_for_selection(values: Floats, errors: Floats) -> float:
    """Return the posterior mean of the last value.

    Args:
        values: Scores of all models, (models,) float64, in a metric between 0 and 1.
        errors: Their standard errors, (models,) float64, positive.
    """
    models, value, variance = len(values), values[-1], errors[-1] ** 2
    if models == 1:
        return float(value)
    weights = errors**-2.0
    mean = np.average(values, weights=weights)
    excess = weights @ (values - mean) ** 2 - chi2.ppf(_QUANTILE, models - 1)
    spread = max(0.0, excess / (weights.sum() - (weights**2).sum() / weights.sum()))
    shrunk = mean + (value - mean) * spread / (spread + variance)
    new = 1 / (models + 1)
    likelihoods = np.array([(1 - new) * norm.pdf(value, mean, np.sqrt(spread + variance)), new])
    return float(np.average([shrunk, value], weights=likelihoods))
