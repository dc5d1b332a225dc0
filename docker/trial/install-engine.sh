#!/bin/sh
# As root on Debian: Docker's engine and the plugins `compose` and `buildx`, for the trial of the containers.
# Where this release has no such plugins, those of the next release are unpacked, which are programs without dependencies.
set -eu
next=${NEXT_RELEASE:-trixie}
plugins=/usr/local/lib/docker/cli-plugins
command -v dockerd >/dev/null && command -v debootstrap >/dev/null || {
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends docker.io debootstrap iptables
}
missing=
docker compose version >/dev/null 2>&1 || missing="docker-compose"
docker buildx version >/dev/null 2>&1 || missing="$missing docker-buildx"
[ -z "$missing" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/parts" "$plugins"
chmod 755 "$work"
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' | awk -v r="$release" '$2 == r {print $1; exit}')
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $next main" > "$work/sources.list"
apt="apt-get -qq -o Dir::Etc::sourcelist=$work/sources.list -o Dir::Etc::sourceparts=$work/parts -o Dir::State::lists=$work/lists -o Dir::Cache::archives=$work/archives"
$apt update
cd "$work"
for package in $missing; do
  $apt download "$package"
  dpkg-deb -x "$package"_*.deb "$work/root"
done
find "$work/root" -path '*/cli-plugins/*' -type f -exec install -m 0755 {} "$plugins/" \;
docker compose version
docker buildx version
