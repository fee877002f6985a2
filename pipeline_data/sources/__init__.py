"""How raw data comes in: crawls, packages, files, and reading what they hold."""

from pipeline_data.sources.raw_files import RawFile, list_raw_files

__all__ = ["RawFile", "list_raw_files"]
