"""What the activations of a text are compared with: their mean on the corpus, or zero."""

BASELINES = ("mean", "zero")
