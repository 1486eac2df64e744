#!/bin/sh
# Prints the interpreter to build with: the first that is at least 3.11, can make virtual environments and has its
# C headers. Says on stderr what is missing where. PYTHON=/path/to/python overrides the search.
set -u

probe='
import os, sys, sysconfig
if sys.version_info < (3, 11):
    sys.exit("%s is Python %d.%d, 3.11 or newer is needed" % ((sys.executable,) + sys.version_info[:2]))
try:
    import ensurepip, venv
except ImportError:
    sys.exit("%s cannot make virtual environments (on Debian: apt install python3-venv)" % sys.executable)
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit("%s comes without its C headers (on Debian: apt install python3-dev)" % sys.executable)
'

reasons=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    path=$(command -v "$candidate") || continue
    if reason=$("$path" -c "$probe" 2>&1); then
        echo "$path"
        exit 0
    fi
    reasons="$reasons
  $reason"
done

echo "no Python to build with was found:${reasons:-
  none of ${PYTHON:-python3 python3.13 python3.12 python3.11} is on the PATH}" >&2
exit 1
