# The steps that get a GPU: as the pipeline image, with the CUDA build of torch. Built by make images (README).
ARG BASE_IMAGE=python:3.11.15-slim-bookworm

FROM ${BASE_IMAGE} AS build
# pip reads its settings from these; like the certificates, they stay in this stage.
ARG PIP_CERT
ARG PIP_DEFAULT_TIMEOUT
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off
WORKDIR /src
RUN python3 -m venv /build && python3 -m venv /opt/venv
# ca-bundle.crt may be absent, which COPY allows of a pattern only.
COPY images/build.lock images/train-gpu.lock images/ca-bundle.cr[t] images/
RUN /build/bin/pip install --no-deps --require-hashes -r images/build.lock \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r images/train-gpu.lock
COPY . .
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/venv/bin/pip install --no-deps --no-index --find-links /wheels textgate

FROM ${BASE_IMAGE}
ARG REVISION=unknown
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="textgate train-gpu" \
      org.opencontainers.image.description="The steps of a pipeline that get a GPU." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/venv /opt/venv
# Whatever is written goes to /tmp, so that the rest can be read-only and any user will do. Python code is compiled.
# The last two tell NVIDIA's container toolkit what to bring in; CUDA itself came with torch.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    LOGNAME=textgate \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TEXTGATE_HOME=/tmp/textgate \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_VISIBLE_DEVICES=all
WORKDIR /tmp
USER 10001:10001
# No entry point: who runs a step gives the whole command.
CMD ["textgate", "--help"]
