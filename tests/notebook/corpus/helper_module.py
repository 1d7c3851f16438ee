"""Imported by notebooks of the corpus; what it does to its arguments cannot be known from there."""

RATE = 3


def touch(rows):
    rows.append(len(rows))


def price(amount):
    return amount * RATE


class Meter:
    def __init__(self):
        self.level = 0

    def step(self):
        self.level += RATE
        return self.level

    def read(self):
        return self.level
