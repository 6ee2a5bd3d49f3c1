"""From groups of token ids to per-token log-probabilities and entropies.

``layout`` puts groups into one batch, ``head`` reads the statistics of every completion token out of a
model's hidden states. Teacher scoring and training share both.
"""
