#!/bin/sh
# Serves the demo bundle in the foreground, as `make run` does: waits until the server is ready, shows one feed as a
# table and the request to try. Ctrl-C stops it cleanly.
#
#   tools/run_demo.sh [BUNDLE]      VIREO_BINARY names another program than build/release/vireo
set -u
cd "$(dirname "$0")/.." || exit 1
program=${VIREO_BINARY:-build/release/vireo}
unset VIREO_BINARY # the program reads VIREO_* as its settings
bundle=${1:-models/demo}
log=$(mktemp) || exit 1
server=

# Ends the server, waits for it, and leaves with its status.
finish() {
    trap - INT TERM EXIT
    [ -n "$server" ] && kill -TERM "$server" 2>/dev/null
    status=0
    [ -n "$server" ] && { wait "$server"; status=$?; }
    rm -f "$log"
    exit "$status"
}

fail() {
    echo "run_demo: $1" >&2
    cat "$log" >&2
    [ -n "$server" ] && kill -TERM "$server" 2>/dev/null
    rm -f "$log"
    exit 1
}

[ -x "$program" ] || fail "$program is missing: run \`make build\`"
[ -f "$bundle/bundle.json" ] || fail "there is no bundle at $bundle"

# A session of its own: Ctrl-C reaches this script alone, which passes it on once (a second signal would cut short).
start() { # LISTEN ADMIN
    : >"$log"
    setsid "$program" serve --bundle "$bundle" --listen "$1" --admin "$2" 2>"$log" &
    server=$!
}

# 0: ready; 1: the server ended; 2: it is still not ready after a minute.
await_ready() {
    tries=0
    while [ "$tries" -lt 600 ]; do
        kill -0 "$server" 2>/dev/null || return 1
        listen=$(sed -n 's/.* event=ready listen=\([^ ]*\) .*/\1/p' "$log")
        if [ -n "$listen" ] && curl -fs -o /dev/null "http://$listen/readyz"; then
            return 0
        fi
        tries=$((tries + 1))
        sleep 0.1
    done
    return 2
}

trap finish INT TERM EXIT
start 127.0.0.1:8080 127.0.0.1:8081
await_ready
result=$?
if [ "$result" -eq 1 ] && grep -q 'cannot listen' "$log"; then
    wait "$server"
    echo "Ports 8080 and 8081 are not both free: $(sed -n 's/^vireo: //p' "$log"). Taking free ones."
    start 127.0.0.1:0 127.0.0.1:0
    await_ready
    result=$?
fi
[ "$result" -eq 0 ] || fail "the server did not get ready"
admin=$(sed -n 's/.* event=ready .* admin=\([^ ]*\) .*/\1/p' "$log")

"$program" show --server "$listen" --user 42 --count 20 || fail "no feed came back"
cat <<TEXT

Vireo serves $bundle on http://$listen (admin: http://$admin/metrics). Try it:

    curl -s http://$listen/v1/recommend -H 'Content-Type: application/json' \\
         -d '{"user_id": "42", "count": 20, "explain": true}'

Ctrl-C stops it.
TEXT
wait "$server"
server_status=$?
trap - INT TERM EXIT
[ "$server_status" -eq 0 ] || cat "$log" >&2
rm -f "$log"
exit "$server_status"
