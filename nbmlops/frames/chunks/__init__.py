"""Frames as row chunks: cut by content, kept by column group, small changes as patches.

``cuts`` decides where a table is cut, so that a version shares its chunks with the version before it; ``layout`` is
what the manifest says; ``writer`` writes what is not there yet; ``reader`` brings rows back; ``plain`` gives files
that other engines read.
"""
