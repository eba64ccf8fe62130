#!/bin/sh
# Installs the Debian packages named as arguments, those that are missing; does nothing when all are there.
# Needs root, or sudo. On a system without apt it says what to install and fails only if the compiler is missing too.
set -eu

missing=""
if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "deps: no dpkg here; please install the equivalents of: $*" >&2
    command -v cmake >/dev/null 2>&1
    exit
fi
for package in "$@"; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
        echo "deps: not root and no sudo; as root: apt-get install$missing" >&2
        exit 1
    }
    as_root="sudo"
fi

echo "deps: installing$missing"
apt_get="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
# shellcheck disable=SC2086  # word splitting is meant: words of a command, and a list of packages
$apt_get update
# shellcheck disable=SC2086
$apt_get install -y --no-install-recommends $missing
