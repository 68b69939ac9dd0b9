# Debian's Prometheus, in the place of the official image where that cannot be had. Its default configuration is the
# file that docker-compose.yml mounts.
FROM python:3.11.14-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/*
EXPOSE 9090
ENTRYPOINT ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
