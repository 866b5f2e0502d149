#!/bin/sh
# Installs what building, running and testing need and is not there yet, on Debian and Ubuntu.
# Says what it installs; says how to do it by hand where it cannot.
set -eu

packages="gcc make pkg-config clang lua5.4 liblua5.4-dev lua-filesystem lua-argparse lua-dkjson
lua-busted lua-check lua-readline libmnl-dev libbpf-dev libnftables-dev libsqlite3-dev libpcap-dev
linux-libc-dev
nftables iproute2 runc crun podman containerd busybox-static sqlite3 graphviz"

# To test the evaluator on another processor.
[ "${GOAL:-}" != tests ] || [ "$(uname -m)" != x86_64 ] || packages="$packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
[ -z "${SAN:-}" ] || packages="$packages libasan8 libubsan1"

command -v dpkg-query >/dev/null || {
	echo "install-packages: this is not Debian or Ubuntu; the packages are called there:" $packages >&2
	exit 0
}
missing=
for p in $packages; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" != 0 ]; then
	command -v sudo >/dev/null || {
		echo "install-packages: missing:$missing; install them as root" >&2
		exit 0
	}
	sudo=sudo
fi
echo "install-packages: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
