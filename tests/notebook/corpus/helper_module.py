"""Imported by a notebook of the corpus; what it does to its argument cannot be known from there."""


def touch(rows):
    rows.append(len(rows))
