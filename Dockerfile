# One image for every process of the service. The build argument TORCH_INDEX decides between
# CPU and CUDA; docker-compose.yml sets it.

FROM python:3.11-slim-bookworm AS build
ARG TORCH=2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /build
RUN python -m venv /opt/textgen
ENV PATH=/opt/textgen/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Dependencies first: a change of the sources does not install them again.
COPY requirements-image.lock ./
RUN pip install -r requirements-image.lock
RUN pip install --index-url "$TORCH_INDEX" "torch==$TORCH"
COPY pyproject.toml README.md ./
COPY textgen textgen
COPY worker worker
COPY web web
RUN pip install --no-deps --no-build-isolation .
# The engine's kernel, for every instruction set: the image that runs has no compiler.
RUN apt-get update && apt-get install -y --no-install-recommends g++ \
 && cd / && python -m textgen.engine.kernels.build

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 textgen \
 && useradd --uid 10001 --gid textgen --no-create-home --shell /usr/sbin/nologin textgen \
 && install -d -o textgen -g textgen -m 0700 /data
COPY --from=build /opt/textgen /opt/textgen
# Waiting threads sleep instead of spinning: training and generation share the cores.
ENV PATH=/opt/textgen/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_WAIT_POLICY=PASSIVE \
    TEXTGEN_HOME=/data \
    TEXTGEN_BIND=0.0.0.0
USER textgen
WORKDIR /data
VOLUME /data
EXPOSE 8000
CMD ["python", "-m", "web.server"]
