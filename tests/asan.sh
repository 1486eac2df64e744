#!/bin/sh
# The tests, with the native part built under AddressSanitizer and UndefinedBehaviorSanitizer:
#
#   1. the whole sandbox with a sanitized acejail. The extension runs inside jailed interpreters, where the ASan runtime
#      cannot come first; there it is built with UBSan in trapping mode, which needs no runtime;
#   2. the tests that load the extension into their own process, with both sanitizers and the runtime preloaded.
#
# Arguments go to pytest in the first part, e.g. `sh tests/asan.sh -x tests/sandbox`.
set -eu
cd "$(dirname "$0")/.."

venv=${VENV:-.venv}
PATH=$(cd "$venv/bin" && pwd):$PATH
python=$(command -v python)
out=build-asan

[ -e $out/full/build.ninja ] || meson setup $out/full --buildtype=debug -Doptimization=1 \
    -Db_sanitize=address,undefined -Db_lundef=false
[ -e $out/trap/build.ninja ] || meson setup $out/trap --buildtype=debug -Doptimization=1 \
    -Dc_args='-fsanitize=undefined -fsanitize-undefined-trap-on-error'
ninja -C $out/full --quiet
ninja -C $out/trap --quiet

tree() { # NAME EXTENSION: the package, with the sanitized acejail and the extension of that build
    rm -rf "$out/$1"
    mkdir -p "$out/$1"
    cp -r src/acesandbox src/acedata src/acetrain "$out/$1/"
    mkdir -p "$out/$1/acesandbox/_bin"
    cp $out/full/native/acejail "$out/$1/acesandbox/_bin/"
    cp "$2" "$out/$1/acesandbox/guest/_native.abi3.so"
}
tree jailed $out/trap/native/_native.abi3.so
tree loaded $out/full/native/_native.abi3.so

# A sanitized process is several times slower and larger: what a test measures in seconds is not the point here.
export ACE_SANITIZED=1

PYTHONPATH=$out/jailed "$python" -m pytest -p no:cacheprovider --timeout 900 "${@:-tests}"

PYTHONPATH=$out/loaded LD_PRELOAD="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so)" \
    ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1 PYTHONMALLOC=malloc \
    "$python" -m pytest -p no:cacheprovider --timeout 900 -k 'codec' --ignore tests/sandbox/attacks tests/sandbox
