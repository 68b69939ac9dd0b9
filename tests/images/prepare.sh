#!/usr/bin/env bash
# Makes sure that a Docker daemon answers and has the image apache/kafka:4.1.0, so that the tests can start it.
# Where the image can be pulled, it is. Where no registry is reached, the same broker is built here under the same name:
# a Debian base (debootstrap), a Java runtime (jlink), Kafka's jars (Maven), and the image's own way of taking its
# configuration from KAFKA_* variables, which is a class in Kafka's jar. Running it again changes nothing.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

image=apache/kafka:4.1.0

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
  make_debian "$work/rootfs"
  make_java
  make_kafka
  say "importing $image"
  import_image "$work/rootfs" "$image" \
    'ENV PATH=/opt/java/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    'EXPOSE 9092' \
    'CMD ["/etc/kafka/docker/run"]'
}

start_daemon
have_image "$image" build_image "$0" "$root"/tests/images/kafka/* "$root/stream/up/jars/pom.xml"

