#!/usr/bin/env bash
# Everything that a machine with a GPU is needed for, in stages that run alone or one after the other:
#
#   bench/gpu.sh [--debs DIR] [STAGE...]       all stages without a name; --debs: packages to install first, offline
#
#   build     the program, the kernels' tests and the programs that measure, for GPU_ARCH (default 90a)
#   test      the kernels' tests on the device: the same cases and bounds as in the emulator
#   sanitize  compute-sanitizer's memcheck, racecheck and synccheck over these tests
#   ceilings  copy and read bandwidth, tensor cores in fp16 and int8
#   scan      exact search: items x dimensions x precision x batch x k, recall beside speed
#   ranker    `vireo bench backends` on the yardstick model by batch size
#   feed      `vireo bench backends` and the whole feed on a bundle (BUNDLE, default models/demo), CPU and GPU
#   peers     torch, FAISS and cuVS on the same device, where they can be imported
#
# A stage has LIMIT seconds (default 540). It leaves its results in build/gpu/results/, and bench/results/DEVICE-DATE.json
# is written anew from what lies there: a stage can be run again alone. Without a device a stage other than build says
# "no device" and ends with 77; whatever else goes wrong ends with 1. Nothing is written for a stage that failed.
# PYTHON names the interpreter (default .venv/bin/python, else python3): ranker needs NumPy and safetensors to make its
# bundle, or a ready one in build/gpu/yardstick (bench/yardstick.py); peers needs torch.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ALL=(build test sanitize ceilings scan ranker feed peers)
readonly OUT=build/gpu RESULTS=build/gpu/results NO_DEVICE=77
LIMIT=${LIMIT:-540}
GPU_ARCH=${GPU_ARCH:-90a}
BUNDLE=${BUNDLE:-models/demo}
if [[ -z ${PYTHON:-} ]]; then
    PYTHON=python3
    [[ -x .venv/bin/python ]] && PYTHON=.venv/bin/python
fi
export CUDA_DEVICE_ORDER=PCI_BUS_ID

say() {
    printf '%s\n' "gpu.sh: $*" >&2
}

# Ends the stage with 77 when there is no device; its description goes into the results otherwise.
need_device() {
    local status=0
    if [[ ! -x $OUT/bench/bench_ceilings ]]; then
        say "bench_ceilings is not there: run the stage build first"
        exit 1
    fi
    "$OUT/bench/bench_ceilings" --device >"$RESULTS/device.part" || status=$?
    if ((status != 0)); then
        rm -f "$RESULTS/device.part"
        say "$1: no device, nothing was run"
        exit "$status"
    fi
    mv "$RESULTS/device.part" "$RESULTS/device.json"
}

# keep NAME COMMAND...: the command's standard output becomes the result NAME, once it has succeeded.
keep() {
    local name=$1 status=0
    shift
    "$@" >"$RESULTS/$name.part" || status=$?
    if ((status != 0)); then
        rm -f "$RESULTS/$name.part"
        say "failed with $status: $*"
        exit "$status"
    fi
    mv "$RESULTS/$name.part" "$RESULTS/$name"
}

device_tests() {
    local found=("$OUT"/tests/test_kernels_*)
    if [[ ! -x ${found[0]} ]]; then
        say "the kernels' tests are not there: run the stage build first"
        exit 1
    fi
    printf '%s\n' "${found[@]}"
}

# Nothing that is skipped counts as passed: Criterion's line must say that tests ran, and that all of them passed.
run_test() {
    local log=$1 status=0
    shift
    "$@" -j1 --timeout 300 2>&1 | tee "$log" || status=$?
    if ((status == 0)) && ! grep -Eq 'Tested: [1-9][0-9]* \| Passing: [1-9]' "$log"; then
        status=1
    fi
    ((status == 0)) || say "failed with $status: $*"
    return "$status"
}

stage_build() {
    cmake --preset gpu -DCMAKE_CUDA_ARCHITECTURES="$GPU_ARCH-real" --log-level=WARNING
    cmake --build --preset gpu --parallel "$(nproc)" --target \
        vireo device_tests bench_ceilings bench_scan
}

stage_test() {
    local tests passed=0 each
    tests=$(device_tests)
    for each in $tests; do
        run_test "$OUT/$(basename "$each").log" "$each"
        passed=$((passed + 1))
    done
    keep test.json printf '{"bench":"test","programs_passed":%d}\n' "$passed"
}

stage_sanitize() {
    local tool tests each
    if ! command -v compute-sanitizer >/dev/null; then
        say "compute-sanitizer is not there"
        exit 1
    fi
    tests=$(device_tests)
    for tool in memcheck racecheck synccheck; do
        for each in $tests; do
            run_test "$OUT/$tool-$(basename "$each").log" \
                compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 9 "$each"
        done
    done
    keep sanitize.json printf '{"bench":"sanitize","tools":["memcheck","racecheck","synccheck"],"errors":0}\n'
}

stage_ceilings() {
    keep ceilings.json "$OUT/bench/bench_ceilings"
}

# `keep` looks at the status, which switches `set -e` off in here.
scan_table() {
    local rows dtype dim index
    for rows in 100000 1000000 10000000; do
        for dtype in f32 f16 i8; do
            "$OUT/bench/bench_scan" cuda "$rows" 64 "$dtype" 1,16,64,128,256 10,100,1000 50 || return
        done
    done
    for dim in 32 128 256; do
        "$OUT/bench/bench_scan" cuda 1000000 "$dim" f16 1,128 100 50 || return
    done
    # FAISS and cuVS behind the same contract, where the build has them.
    if "$OUT/vireo" version | grep -Eq '^faiss_gpu +yes'; then
        for index in faiss_gpu_flat faiss_gpu_ivf faiss_gpu_ivfpq; do
            "$OUT/bench/bench_scan" cuda 1000000 64 f16 1,128 10,100 50 "$index" || return
        done
    fi
    if "$OUT/vireo" version | grep -Eq '^cuvs +yes'; then
        for index in cuvs_flat cuvs_ivf cuvs_ivfpq cuvs_cagra; do
            "$OUT/bench/bench_scan" cuda 1000000 64 f16 1,128 10,100 50 "$index" || return
        done
    fi
}

stage_scan() {
    keep scan.jsonl scan_table
}

stage_ranker() {
    if [[ ! -f $OUT/yardstick/bundle.json ]]; then
        "$PYTHON" bench/yardstick.py "$OUT/yardstick.part"
        mv "$OUT/yardstick.part" "$OUT/yardstick"
    fi
    "$OUT/vireo" bench backends --bundle "$OUT/yardstick" --backends cuda --batches 1,2,4,8,16,32,64,128,256 --seconds 3 \
        --json "$RESULTS/ranker.json"
}

# The whole feed on one backend, SECONDS a run.
in_process() {
    "$OUT/vireo" bench feed --bundle "$BUNDLE" --backend "$1" --seconds "$2" --json "$RESULTS/feed_$1.json"
}

stage_feed() {
    "$OUT/vireo" bench backends --bundle "$BUNDLE" --backends cpu,cuda --batches 1,2,4,8,16,32,64,128 --seconds 3 \
        --json "$RESULTS/feed.json.part"
    if ! grep -q '"backend":"cuda","measured":true' "$RESULTS/feed.json.part"; then
        rm -f "$RESULTS/feed.json.part"
        say "feed: the GPU was not measured"
        exit 1
    fi
    mv "$RESULTS/feed.json.part" "$RESULTS/feed.json"
    in_process cpu 2
    in_process cuda 2
}

stage_peers() {
    "$PYTHON" bench/peers_torch.py "$RESULTS/peers.json.part"
    mv "$RESULTS/peers.json.part" "$RESULTS/peers.json"
}

is_stage() {
    local each
    for each in "${ALL[@]}"; do
        [[ $each == "$1" ]] && return 0
    done
    return 1
}

# A stage's results, those of an earlier run too: what failed now must not look as if it had been measured.
forget() {
    rm -f "$RESULTS/$1".* "$RESULTS/$1"_*
}

# One stage in a process of its own, so that its limit ends all that it has started.
run_stage() {
    local stage=$1 status=0
    say "$stage ..."
    forget "$stage"
    timeout --kill-after=10 "$LIMIT" bash bench/gpu.sh --stage "$stage" || status=$?
    ((status == 0)) || forget "$stage"
    case $status in
    0) say "$stage: done" ;;
    "$NO_DEVICE") say "$stage: not run" ;;
    124 | 137) say "$stage: not done after $LIMIT s" ;;
    *) say "$stage: failed" ;;
    esac
    return "$status"
}

install_debs() {
    local root=()
    [[ $(id -u) -eq 0 ]] || root=(sudo)
    "${root[@]}" dpkg --install --skip-same-version "$1"/*.deb
}

main() {
    local stages=() stage status=0 worst=0
    if [[ ${1:-} == --stage ]]; then
        mkdir -p "$RESULTS"
        [[ $2 == build ]] || need_device "$2"
        "stage_$2"
        return
    fi
    if [[ ${1:-} == --debs ]]; then
        [[ -d ${2:-} ]] || { say "--debs: a folder of packages"; exit 2; }
        install_debs "$2"
        shift 2
    fi
    for stage in "$@"; do
        is_stage "$stage" || { say "\"$stage\" is none of: ${ALL[*]}"; exit 2; }
        stages+=("$stage")
    done
    ((${#stages[@]} > 0)) || stages=("${ALL[@]}")
    for stage in "${stages[@]}"; do
        status=0
        run_stage "$stage" || status=$?
        ((status == 0 || worst == 1)) || worst=$((status == NO_DEVICE ? NO_DEVICE : 1))
        [[ $stage != build || $status == 0 ]] || break
        if ((status == 0)) && [[ $stage != build ]]; then
            "$PYTHON" bench/collect.py "$RESULTS" bench/results
        fi
    done
    exit "$worst"
}

main "$@"
