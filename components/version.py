"""The version of textgate, in one place: the package's metadata and the images' tags are read from it."""

__version__ = "0.2.0"
