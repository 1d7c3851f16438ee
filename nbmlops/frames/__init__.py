"""Frames of any library: to Arrow and back with exact dtypes, digests, profiles, differences, Parquet and folders.

Nothing here knows a store. Import the module that is meant: ``arrow`` (pack and unpack), ``digest``, ``profile``,
``diff``, ``parquet``, ``folders``.
"""
