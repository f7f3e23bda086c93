# The build context is dist/, made by `make dist`: wheels and locks, nothing else.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv --without-pip /opt/lookalike
COPY locks/milvus-lite.txt /build/lock.txt
RUN pip --python /opt/lookalike/bin/python install --no-cache-dir --no-deps --only-binary=:all: \
      --require-hashes --requirement /build/lock.txt

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="lookalike/milvus-lite" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/lookalike/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    OPENBLAS_NUM_THREADS=1 \
    MALLOC_MMAP_THRESHOLD_=67108864 \
    MALLOC_TRIM_THRESHOLD_=134217728
COPY --from=build /opt/lookalike /opt/lookalike
USER 10001:10001
EXPOSE 19530
# As the first process of a container it ignores SIGTERM.
STOPSIGNAL SIGINT
ENTRYPOINT ["python", "-m", "milvus_lite", "server"]
CMD ["--data-dir=/data", "--host=0.0.0.0", "--port=19530", "--max-workers=1"]
