#!/bin/bash
# As the official image starts: Kafka's own wrapper turns KAFKA_* variables into the configuration and formats the
# storage with $CLUSTER_ID, then the broker runs in the foreground.
set -e
: "${CLUSTER_ID:=5L6g3nShT-eMCtK--X86sw}"
export CLUSTER_ID
classes='/opt/kafka/libs/*'
# A container that is started again has a formatted storage already, which the wrapper takes for an error.
said=$(java -Xmx128m -cp "$classes" kafka.docker.KafkaDockerWrapper setup \
  --default-configs-dir /etc/kafka/docker \
  --mounted-configs-dir /mnt/shared/config \
  --final-configs-dir /opt/kafka/config 2>&1) || [[ $said == *"already formatted"* ]] || { echo "$said"; exit 1; }
echo "$said"
# shellcheck disable=SC2086 # KAFKA_HEAP_OPTS holds several words
exec java ${KAFKA_HEAP_OPTS:--Xmx512m} -XX:+UseSerialGC \
  -Dlog4j2.configurationFile=/opt/kafka/config/log4j2.yaml -cp "$classes" kafka.Kafka /opt/kafka/config/server.properties
