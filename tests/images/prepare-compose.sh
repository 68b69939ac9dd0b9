#!/usr/bin/env bash
# Makes sure that what docker-compose.yml is built on is there: a Docker daemon, docker-compose, the images of Kafka
# (prepare.sh) and of Python. Where Python's cannot be pulled, a Debian with Debian's Python stands under its name: the
# Dockerfile is then built as it is, on another patch version of Python. Running it again changes nothing.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

python=$(sed -n 's/^FROM \([^ ]*\) AS build$/\1/p' "$root/Dockerfile")

build_python() {
  local folder=$work/python
  make_debian "$folder" python3,python3-pip,python3-venv,ca-certificates
  ln -sf /usr/bin/python3 "$folder/usr/local/bin/python"
  rm -f "$folder"/usr/lib/python3*/EXTERNALLY-MANAGED  # as in Python's own image, pip may install here
  local certificates=/etc/ssl/certs/ca-certificates.crt
  # Certificates that this machine was told to trust are trusted by the build too, which fetches packages.
  if [ -n "${SSL_CERT_FILE:-}" ]; then cp -L "$SSL_CERT_FILE" "$folder$certificates"; fi
  import_image "$folder" "$python" \
    'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin' \
    "ENV SSL_CERT_FILE=$certificates PIP_CERT=$certificates" \
    'CMD ["python"]'
}

"$root/tests/images/prepare.sh"
install_packages docker-compose docker-compose
have_image "$python" build_python "$0" "${SSL_CERT_FILE:-/dev/null}"
