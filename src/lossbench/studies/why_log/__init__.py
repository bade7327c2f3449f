"""Why a network is trained on the logarithm of the probability and not on its square."""
