#!/usr/bin/env bash
# Makes sure that a Docker daemon answers and has the image apache/kafka:4.1.0, so that the tests can start it.
# Where the image can be pulled, it is. Where no registry is reached, the same broker is built here under the same name:
# a Debian base (debootstrap), a Java runtime (jlink), Kafka's jars (Maven), and the image's own way of taking its
# configuration from KAFKA_* variables, which is a class in Kafka's jar. Running it again changes nothing.
#
# A daemon that this script started is named in .cache/images/dockerd.pid; tests/images/run-container-tests stops it afterwards.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
image=apache/kafka:4.1.0
work=$root/.cache/images
mkdir -p "$work"

say() { echo "images: $*" >&2; }
die() { say "$*"; exit 1; }

install_packages() {  # Debian packages for the commands named first, only if one of them is missing
  local commands=$1; shift
  for command in $commands; do
    if ! command -v "$command" >/dev/null; then
      [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        die "\`$command\` is missing and this is no Debian system with root rights: install $*, or start a Docker daemon that has $image"
      say "installing $*"
      { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >"$work/apt.log" 2>&1 ||
        { tail -20 "$work/apt.log" >&2; die "apt-get could not install $*"; }
      return
    fi
  done
}

daemon_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

start_daemon() {
  install_packages "dockerd docker iptables" docker.io iptables
  if daemon_answers; then return; fi  # where a service manager runs, installing it has started it
  # dockerd speaks to the kernel through `iptables`; the legacy one works in more sandboxes than the nft one. It is
  # chosen for this daemon alone, by a folder in front of its PATH.
  mkdir -p "$work/bin"
  for tool in iptables ip6tables; do
    if command -v "$tool-legacy" >/dev/null; then ln -sf "$(command -v "$tool-legacy")" "$work/bin/$tool"; fi
  done
  say "starting dockerd"
  PATH="$work/bin:$PATH" setsid nohup dockerd >"$work/dockerd.log" 2>&1 </dev/null &
  echo $! >"$work/dockerd.pid"
  for _ in $(seq 60); do
    if daemon_answers; then return; fi
    kill -0 "$(cat "$work/dockerd.pid")" 2>/dev/null || break
    sleep 0.5
  done
  tail -20 "$work/dockerd.log" >&2
  die "dockerd did not answer within 30 s; the tests with a container cannot run"
}

make_base() {  # a minimal Debian: a C library, bash and what they need; half a minute, kept for the next build
  if [ -d "$work/rootfs" ]; then return; fi
  install_packages debootstrap debootstrap
  say "building the Debian base"
  rm -rf "$work/rootfs.partial"
  debootstrap --variant=minbase bookworm "$work/rootfs.partial" >"$work/debootstrap.log" 2>&1 ||
    { tail -20 "$work/debootstrap.log" >&2; die "debootstrap failed"; }
  rm -rf "$work"/rootfs.partial/var/cache/apt "$work"/rootfs.partial/var/lib/apt/lists
  mv "$work/rootfs.partial" "$work/rootfs"
}

make_java() {
  if [ -x "$work/rootfs/opt/java/bin/java" ]; then return; fi
  install_packages jlink openjdk-17-jdk-headless
  say "linking a Java runtime"
  rm -rf "$work/rootfs/opt/java"
  jlink --add-modules java.se,jdk.unsupported,jdk.management,jdk.security.auth,jdk.crypto.ec,jdk.zipfs \
    --strip-debug --no-man-pages --no-header-files --output "$work/rootfs/opt/java"
}

make_kafka() {
  install_packages mvn maven
  say "copying Kafka's jars"
  rm -rf "$work/rootfs/opt/kafka" "$work/rootfs/etc/kafka"
  mkdir -p "$work/rootfs/opt/kafka/config" "$work/rootfs/etc/kafka/docker" "$work/rootfs/mnt/shared/config"
  mvn -q -B -f "$root/stream/up/jars/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    "-DoutputDirectory=$work/rootfs/opt/kafka/libs"
  cp "$root/tests/images/kafka/run.sh" "$work/rootfs/etc/kafka/docker/run"
  cp "$root/tests/images/kafka/server.properties" "$work/rootfs/etc/kafka/docker/server.properties"
  cp "$root/tests/images/kafka/log4j2.yaml" "$work/rootfs/etc/kafka/docker/log4j2.yaml"
  cp "$root/tests/images/kafka/log4j2.yaml" "$work/rootfs/etc/kafka/docker/tools-log4j2.yaml"
  chmod 755 "$work/rootfs/etc/kafka/docker/run"
}

build_image() {
  make_base
  make_java
  make_kafka
  say "importing $image"
  tar -C "$work/rootfs" -c . | docker import \
    --change 'ENV PATH=/opt/java/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'EXPOSE 9092' \
    --change 'CMD ["/etc/kafka/docker/run"]' \
    - "$image" >/dev/null
}

daemon_answers || start_daemon
if docker image inspect "$image" >/dev/null 2>&1; then
  say "$image is there"
elif timeout 120 docker pull -q "$image" >"$work/pull.log" 2>&1; then
  say "pulled $image"
else
  say "$image cannot be pulled here ($(tail -1 "$work/pull.log" | cut -c1-160)); building it"
  build_image
  say "built $image"
fi
