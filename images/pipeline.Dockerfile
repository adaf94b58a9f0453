# Image of the pipeline steps on the CPU, and of textgate submit and retrain. Built by make images.
ARG BASE_IMAGE=python:3.11.15-slim-bookworm

FROM ${BASE_IMAGE} AS build
# Settings of pip. They and the certificates exist only in this stage.
ARG PIP_CERT
ARG PIP_DEFAULT_TIMEOUT
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_INDEX_URL
ARG PIP_TRUSTED_HOST
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off
WORKDIR /src
RUN python3 -m venv /build && python3 -m venv /opt/venv
# ca-bundle.crt is optional; COPY tolerates a missing file only in a pattern.
COPY images/build.lock images/pipeline.lock images/ca-bundle.cr[t] images/
RUN /build/bin/pip install --no-deps --require-hashes -r images/build.lock \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r images/pipeline.lock
# Not in the lock file: the CPU build comes from another index and has other checksums.
ARG TORCH=2.13.0
RUN /opt/venv/bin/pip install --no-deps "torch==${TORCH}" \
    && /opt/venv/bin/python -c "from torch.version import cuda; assert cuda is None, \
       'that is the CUDA build: point PIP_EXTRA_INDEX_URL at the CPU wheel index of PyTorch'"
# Clients of W&B, MLflow and the Kubeflow Model Registry: make image-pipeline-tracking.
ARG TRACKING=
COPY images/tracking.lock images/
RUN if [ -n "${TRACKING}" ]; then \
    /opt/venv/bin/pip install --no-deps --require-hashes -r images/tracking.lock; fi
COPY . .
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/venv/bin/pip install --no-deps --no-index --find-links /wheels textgate

FROM ${BASE_IMAGE}
ARG REVISION=unknown
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="textgate pipeline" \
      org.opencontainers.image.description="The steps of a pipeline, on the CPU." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/venv /opt/venv
# Everything is written to /tmp, so the root file system can be read-only and the user arbitrary.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    LOGNAME=textgate \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TEXTGATE_HOME=/tmp/textgate
WORKDIR /tmp
USER 10001:10001
# No entry point: Kubeflow Pipelines passes the complete command of a step.
CMD ["textgate", "--help"]
