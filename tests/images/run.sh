#!/usr/bin/env bash
# Runs a command with the tests' Kafka taken from a container, and stops the Docker daemon afterwards if it had to be
# started for that:  tests/images/run.sh .venv/bin/pytest -m kafka
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
pid_file=$(cd "$here/../.." && pwd)/.cache/images/dockerd.pid
rm -f "$pid_file"

stop_daemon() {
  [ -f "$pid_file" ] || return 0
  local pid
  pid=$(cat "$pid_file")
  rm -f "$pid_file"
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 60); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.5
  done
  kill -9 "$pid"
}
trap stop_daemon EXIT

"$here/prepare.sh"
export COSTREAM_TEST_KAFKA=container
"$@"
