# Image of the server with ONNX Runtime for NVIDIA GPUs, CUDA and cuDNN, without torch. Built by make images.
# Its lock file has onnxruntime-gpu in place of onnxruntime: both are the module onnxruntime.
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
# ca-bundle.crt is optional; COPY tolerates a missing file only in a pattern.
COPY images/build.lock images/serving-gpu.lock images/ca-bundle.cr[t] images/
RUN python3 -m venv /build \
    && python3 -m venv --without-pip /opt/venv \
    && /build/bin/pip install --no-deps --require-hashes -r images/build.lock \
    && /build/bin/pip --python /opt/venv/bin/python install --no-deps --require-hashes -r images/serving-gpu.lock \
    && find /opt/venv -depth -type d \( -name include -o -name tests \) -exec rm -r {} +
COPY . .
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/venv/bin/python install --no-deps --no-index --find-links /wheels textgate

FROM ${BASE_IMAGE}
ARG REVISION=unknown
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="textgate serving-gpu" \
      org.opencontainers.image.description="The endpoint: answers with the champions of the registry, on a GPU." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/venv /opt/venv
# Everything is written to /tmp, so the root file system can be read-only and the user arbitrary.
# The last two configure NVIDIA's container toolkit; CUDA itself is installed with ONNX Runtime.
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
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/v2/health/ready', timeout=4)"]
ENTRYPOINT ["textgate"]
CMD ["serve", "--host", "0.0.0.0", "--device", "cuda"]
