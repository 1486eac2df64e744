#!/bin/sh
# The fuzzers, one after the other: `sh tests/fuzz/run.sh [NAME...]`, each for FUZZ_SECONDS (5). README.md says what each
# looks at. Corpora and builds stay in build-fuzz/; a finding is a file NAME-crash-*, NAME-timeout-* or NAME-oom-* there,
# and the exit code is not 0. A fuzzer whose tool is missing is skipped, or fails where ACE_MUST_WORK=1.
set -eu
cd "$(dirname "$0")/../.."

seconds=${FUZZ_SECONDS:-5}
python=${PYTHON:-python3}
out=$PWD/build-fuzz
missed=0
mkdir -p "$out"
export PYTHONPATH="$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONDONTWRITEBYTECODE=1

missing() { # NAME WHAT
    echo "$1: not run, because $2" >&2
    [ "${ACE_MUST_WORK:-}" != 1 ] || missed=1
}

# The decoder and `shown`, under atheris.
codec() {
    "$python" -c 'import atheris' 2> "$out/why" || {
        missing codec "atheris cannot be imported by $python (pip install atheris): $(tail -n 1 "$out/why")"
        return 0
    }
    mkdir -p "$out/codec"
    quietly codec "$python" tests/fuzz/fuzz_codec.py "$out/codec" -max_total_time="$seconds" -artifact_prefix="$out/codec-"
}

# The encoder in C, alone in an extension that is built under both sanitizers.
encode() {
    libraries="$(cc -print-file-name=libasan.so) $(cc -print-file-name=libubsan.so)"
    case $libraries in /*" "/*) ;; *)
        missing encode "the compiler cc has no libasan.so or no libubsan.so"
        return 0
        ;;
    esac
    tree=$out/tree
    rm -rf "$tree"
    mkdir -p "$tree"
    cp -r src/acesandbox "$tree/"
    include=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    cc -shared -fPIC -g -O1 -std=gnu11 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all \
        -I"$include" -Inative/guest tests/fuzz/native/encoder.c native/guest/encode.c \
        -o "$tree/acesandbox/guest/_native.abi3.so"
    PYTHONPATH=$tree:$PWD PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 LD_PRELOAD=$libraries \
        "$python" tests/fuzz/fuzz_encode.py "$seconds"
}

# A parser in C, under libFuzzer; its source file includes or is linked with the files that are named.
native() { # NAME FILE...
    name=$1
    shift
    command -v clang > /dev/null || {
        missing "$name" "there is no clang (Debian: apt-get install clang libclang-rt-14-dev)"
        return 0
    }
    sources=
    for file in "$@"; do sources="$sources native/jail/$file.c"; done
    # shellcheck disable=SC2086 # a list of files
    clang -std=gnu11 -g -O1 -Wall -Wextra -Werror -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
        -o "$out/fuzz-$name" "tests/fuzz/native/$name.c" $sources
    [ -d "$out/seeds" ] || "$python" -m tests.fuzz.seeds "$out/seeds"
    mkdir -p "$out/$name"
    quietly "$name" "$out/fuzz-$name" "$out/$name" "$out/seeds/$name" -max_total_time="$seconds" -max_len=4096 \
        -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$out/$name-"
}

quietly() { # NAME COMMAND...: libFuzzer's last words, or its last page when it found something
    label=$1
    shift
    if "$@" > "$out/$label.log" 2>&1; then
        echo "$label: $(grep -a '^Done ' "$out/$label.log" || tail -n 1 "$out/$label.log")"
    else
        tail -n 60 "$out/$label.log" >&2
        echo "$label: a finding; all of it is in $out/$label.log" >&2
        exit 1
    fi
}

rm -rf "$out/seeds"
[ $# -gt 0 ] || set -- unit plan config wire frames judge encode codec
for target in "$@"; do
    case $target in
    unit | plan) native "$target" unit ;;
    config) native config wire ;;
    wire) native wire wire ;;
    frames) native frames unit wire program guests processes report ;;
    judge) native judge unit wire program player processes report ;;
    encode) encode ;;
    codec) codec ;;
    *)
        echo "no fuzzer is called $target: unit, plan, config, wire, frames, judge, encode or codec" >&2
        exit 2
        ;;
    esac
done
exit $missed
