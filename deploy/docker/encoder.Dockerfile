# The build context is dist/, made by `make dist`: wheels and locks, nothing else.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv --without-pip /opt/lookalike
COPY locks/encoder.txt /build/lock.txt
RUN pip --python /opt/lookalike/bin/python install --no-cache-dir --no-deps --only-binary=:all: \
      --require-hashes --requirement /build/lock.txt
COPY lookalike_protos-*.whl \
     lookalike_common-*.whl \
     lookalike_media-*.whl \
     lookalike_encoder-*.whl \
     /build/wheels/
# Without an index: what is missing now is missing from the lock; the wheels given are the pin.
# hadolint ignore=DL3013
RUN pip --python /opt/lookalike/bin/python install --no-cache-dir --no-index \
      --find-links /build/wheels "lookalike-encoder[cpu]"

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="lookalike/encoder" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/lookalike/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    MALLOC_ARENA_MAX=2 \
    MALLOC_MMAP_THRESHOLD_=16777216 \
    MALLOC_TRIM_THRESHOLD_=33554432
COPY --from=build /opt/lookalike /opt/lookalike
USER 10001:10001
EXPOSE 50051 9101
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "lookalike_encoder"]
CMD ["serve"]
