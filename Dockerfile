# The worker: the application with the versions of requirements.lock, without the embedded engine (500 MB).
FROM python:3.11.14-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /src
COPY requirements.lock pyproject.toml ./
COPY producers producers
COPY stream stream
COPY sinks sinks
# As constraints the lock fixes every version and checks every hash, build tools included, while only what the
# application asks for is installed. --no-sources: the two distributions are named by their paths.
RUN uv venv /opt/costream && \
    uv pip install --python /opt/costream --no-cache --no-sources --compile-bytecode \
      --constraints requirements.lock --build-constraints requirements.lock ./producers .

FROM python:3.11.14-slim-bookworm
COPY --from=build /opt/costream /opt/costream
ENV PATH=/opt/costream/bin:$PATH PYTHONUNBUFFERED=1
RUN useradd --system --uid 10001 --home-dir /nonexistent costream
USER 10001
ENTRYPOINT ["costream"]
CMD ["worker"]
