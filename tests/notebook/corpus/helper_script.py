"""Run by notebooks of the corpus with %run."""

RATE = 3


def helped(x):
    return x + 10 * RATE
