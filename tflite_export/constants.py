"""Numbers that several modules share."""

# Klambauer et al., Self-Normalizing Neural Networks (2017)
SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
