"""Losses for many classes: bias, variance and cost of approximations of softmax."""
