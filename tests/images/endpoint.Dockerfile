# In ClickHouse's place where its image cannot be had: `costream clickhouse`, the same engine, embedded. Built as the
# worker is, with the engine. For tests: it answers its own machine alone, so a proxy stands before it (see the override).
FROM python:3.11.14-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY requirements.lock pyproject.toml ./
COPY producers producers
COPY stream stream
COPY sinks sinks
RUN uv venv /opt/costream && \
    uv pip install --python /opt/costream --no-cache --no-sources \
      --constraints requirements.lock --build-constraints requirements.lock ./producers ".[embedded]"
ENV PATH=/opt/costream/bin:$PATH
EXPOSE 8123
ENTRYPOINT []
CMD ["sh", "-c", "haproxy -f /etc/haproxy/endpoint.cfg & \
  exec costream clickhouse --data-dir /var/lib/clickhouse --port 18123"]
