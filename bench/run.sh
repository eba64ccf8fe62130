#!/bin/sh
# `make bench`: what a feed costs on this machine, with the machine and the commit beside the figures.
# Results also go to build/bench/. Usage: bench/run.sh [BUNDLE]
set -eu
cd "$(dirname "$0")/.."
bundle=${1:-models/demo}
out=build/bench
mkdir -p "$out"

cmake --preset release --log-level=WARNING
cmake --build --preset release --target vireo vireo_allocations
LD_PRELOAD=build/release/libvireo_allocations.so \
    build/release/vireo bench feed --bundle "$bundle" --json "$out/feed.json" | tee "$out/feed.txt"
