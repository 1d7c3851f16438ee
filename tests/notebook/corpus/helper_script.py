"""Run by a notebook of the corpus with %run."""


def helped(x):
    return x + 10
