# Both environments, built by the project's own set-up, on the Python image they were tried with.
FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# PyRadiomics is compiled at install.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/rtpipeline
COPY pyproject.toml README.md LICENSE noxfile.py ./
COPY envs envs
COPY src src
RUN python -m venv /opt/nox && /opt/nox/bin/python -m pip install nox && /opt/nox/bin/python -m nox -s setup

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="rtpipeline" \
      org.opencontainers.image.description="Radiotherapy DICOM exports in, publishable research tables out." \
      org.opencontainers.image.version="2.1.0" \
      org.opencontainers.image.licenses="MIT"
# OpenCV, which rt-utils imports, needs these.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 rtpipeline \
    && install --directory --owner rtpipeline /input /output /weights /custom_models
COPY --from=build /opt/rtpipeline /opt/rtpipeline
COPY configs /opt/rtpipeline/configs
ENV PATH=/opt/rtpipeline/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba \
    RTPIPELINE_CONFIGFILE=/opt/rtpipeline/configs/container.yaml \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER rtpipeline
WORKDIR /output
ENTRYPOINT ["rtpipeline"]
CMD ["--help"]
