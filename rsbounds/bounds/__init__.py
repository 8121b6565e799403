"""Statistics: samples in, bounds out. One folder per kind of data."""
