#!/bin/sh
# `make bench` and `make bench-long`: this machine against the goals. Usage: bench/run.sh [--long] [BUNDLE]
#
#   ops    each operation beside the machine's limits
#   feed   the whole feed in process on a bundle (default models/demo)
#   peers  what one would use instead (bench/peers/run.py, in an environment that it makes for itself)
#
# The short form takes some five minutes once that environment is made; the long one, over an hour. Each part's results go
# to build/bench/; the table of goals at the end is bench/goals.py's, which the long form also keeps in bench/results/.
# A part that fails is said so, the others go on, and the exit status is 1.
set -eu
cd "$(dirname "$0")/.."
short=--short keep= rows=100000 op_seconds=0.05 runs=3 seconds=1
if [ "${1:-}" = --long ]; then
    short= keep=--keep rows=1000000 op_seconds=1 runs=7 seconds=10
    shift
fi
bundle=${1:-models/demo}
out=build/bench
vireo=build/release/vireo
failed=0
rm -rf "$out"
mkdir -p "$out"

part() {
    echo "== $1"
    shift
    "$@" || failed=1
}

peers() {
    status=0
    python3 bench/peers/run.py $short || status=$?
    mkdir -p "$out/peers"
    cp build/peers/*.json build/peers/*.png "$out/peers/" 2>/dev/null || true
    return "$status"
}

cmake --preset release -DVIREO_BENCH=ON --log-level=WARNING
cmake --build --preset release --target vireo vireo_allocations bench_knn bench_front bench_ranker

part ops "$vireo" bench ops --json "$out/ops.json" \
    --rows "$rows" --seconds "$op_seconds"
part feed env LD_PRELOAD="$PWD/build/release/libvireo_allocations.so" "$vireo" bench feed --bundle "$bundle" \
    --json "$out/feed.json" --runs "$runs" --seconds "$seconds"
part peers peers

echo "== goals"
python3 bench/goals.py "$out" $keep
exit "$failed"
