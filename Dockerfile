# Vireo with the CUDA backend, for compute capability 8.0 and later.
# Build: docker build --build-arg VIREO_COMMIT="$(git describe --always --dirty)" -t vireo .
# Run: docker run --gpus all -p 8080:8080 -v /path/to/bundle:/srv/bundle:ro vireo (without a bundle it serves the demo).

FROM nvidia/cuda:13.0.2-devel-ubuntu24.04 AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# FAISS and cuVS for the GPU, from conda-forge: --build-arg LIBRARIES="libfaiss=*=cuda13* libcuvs>=26.08 dlpack".
# Without it the image has FAISS on the CPU alone.
ARG LIBRARIES=""
COPY --from=mambaorg/micromamba:2.3.2 /bin/micromamba /usr/local/bin/micromamba
ENV MAMBA_ROOT_PREFIX=/opt/conda
RUN mkdir -p /opt/libraries \
    && echo "${LIBRARIES}" | xargs -r micromamba create --yes --quiet --prefix /opt/libraries --channel conda-forge \
    && micromamba clean --all --yes
WORKDIR /src
COPY Makefile ./
COPY tools tools
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends make \
    && make deps \
    && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt CMakePresets.json ./
COPY cmake cmake
COPY include include
COPY src src
COPY kernels kernels
# The repository stays outside; this is what `vireo bench` writes beside its figures.
ARG VIREO_COMMIT=unknown
RUN cmake --preset cuda -DVIREO_COMMIT="${VIREO_COMMIT}" -DCMAKE_PREFIX_PATH=/opt/libraries \
        -DCMAKE_BUILD_RPATH=/opt/libraries/lib ${LIBRARIES:+-DVIREO_FAISS_GPU=ON} \
    && cmake --build --preset cuda --target vireo \
    && build/cuda/vireo version | grep -E '^cuda +yes$'
# The program takes the libraries it was linked with along; the C library and the CUDA driver come from where it runs.
RUN mkdir -p /opt/vireo/bin /opt/vireo/lib \
    && install -s build/cuda/vireo /opt/vireo/bin/vireo \
    && ldd build/cuda/vireo \
        | awk '$2 == "=>" && $3 ~ /^\// {print $3}' \
        | grep -Ev '/(libc|libm|libdl|librt|libpthread|libcuda)\.so' \
        | xargs -r cp -L -t /opt/vireo/lib

FROM ubuntu:24.04
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 vireo \
    && useradd --system --uid 10001 --gid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin vireo \
    && install -d -o vireo -g vireo /var/lib/vireo
COPY --from=build /opt/vireo /opt/vireo
COPY models/demo /srv/bundle
ENV LD_LIBRARY_PATH=/opt/vireo/lib \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
EXPOSE 8080
VOLUME ["/var/lib/vireo"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8080/readyz"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/vireo/bin/vireo"]
CMD ["serve", "--bundle", "/srv/bundle", "--listen", "0.0.0.0:8080", "--admin", "127.0.0.1:8081", "--data", "/var/lib/vireo"]
