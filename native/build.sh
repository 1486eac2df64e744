#!/bin/sh
# Builds the native part and puts its two artifacts where an installed package has them, inside src/: after this,
# PYTHONPATH=src is a working development tree. Safe to run several times at once; artifacts are replaced by rename.
set -eu

build=${BUILD:-build}
venv=${VENV:-.venv}
PATH=$(cd "$venv/bin" 2>/dev/null && pwd):$PATH

command -v meson > /dev/null && command -v ninja > /dev/null || {
    echo "meson and ninja are needed: run 'make test' once, or pip install meson ninja" >&2
    exit 1
}

mkdir -p "$build"
exec 9> "$build/.lock"
flock 9

[ -e "$build/build.ninja" ] || meson setup "$build" > "$build/setup.log" || { cat "$build/setup.log"; exit 1; }
ninja -C "$build" -j 2 --quiet

put() {
    mkdir -p "$2"
    cp "$1" "$2/.$3.new"
    mv -f "$2/.$3.new" "$2/$3"
}
put "$build/native/acejail" src/acesandbox/_bin acejail
put "$build/native/_native.abi3.so" src/acesandbox/guest _native.abi3.so

# Bytecode beside the sources, as an installed package has it: a jail that must compile its own side starts later and
# carries the compiler's garbage into every clone. (In the jail nothing can be written.)
"$venv/bin/python" -m compileall -q src/acesandbox/guest
