"""The code that runs inside the jail: standard library only, Python 3.9 or later, relative imports only.

Mounted in the jail as the package `_ace_guest`; what each process does is told in `docs/protocol.md`.
"""
