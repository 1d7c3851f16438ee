"""Notebooks as documents: their typed parameters, their execution, and what became of each cell."""
