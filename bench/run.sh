#!/bin/sh
# `make bench`: what a feed costs on this machine, with the machine and the commit beside the figures.
# Results also go to build/bench/. Usage: bench/run.sh [BUNDLE]
set -eu
cd "$(dirname "$0")/.."
bundle=${1:-models/demo}
out=build/bench
mkdir -p "$out"

cmake --preset release -DVIREO_BENCH=ON --log-level=WARNING
cmake --build --preset release --target bench_feed

{
    echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    echo "commit:  $(git describe --always --dirty 2>/dev/null || echo unknown)"
    echo "bundle:  $bundle"
    echo
    build/release/bench/bench_feed "$bundle" "${BENCH_REQUESTS:-400}" "${BENCH_RUNS:-5}"
} | tee "$out/feed.txt"
tail -n 1 "$out/feed.txt" >"$out/feed.json"
