"""Folders of files as immutable content: scanned, packed, listed, labelled, viewed and written out again.

A desk calls :func:`scan`, then :func:`put_tree`, :func:`folder_digest` and :func:`put_manifest`; to read,
:func:`get_entries` and :class:`FolderView`.
"""

from nbmlops.frames.folders.check import verify_folder
from nbmlops.frames.folders.content import Entry, get_content, put_tree
from nbmlops.frames.folders.labels import Labels, put_labels, read_labels
from nbmlops.frames.folders.manifest import FORMAT, folder_digest, get_entries, put_manifest, references, suffixes
from nbmlops.frames.folders.view import FolderView
from nbmlops.frames.folders.walk import Tree, scan
from nbmlops.frames.folders.writing import export, export_folder

__all__ = [
    "FORMAT",
    "Entry",
    "FolderView",
    "Labels",
    "Tree",
    "export",
    "export_folder",
    "folder_digest",
    "get_content",
    "get_entries",
    "put_labels",
    "put_manifest",
    "put_tree",
    "read_labels",
    "references",
    "scan",
    "suffixes",
    "verify_folder",
]
