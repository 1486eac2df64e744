"""The embedded example: seeds and answers of our own writing. `acedata build demo` builds it."""
