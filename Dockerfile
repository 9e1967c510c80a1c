# syntax=docker/dockerfile:1
# One image for every part; the command says which: edge, cloud, simulate, replay.

FROM node:22-slim AS page
WORKDIR /src/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci --omit=dev
COPY web ./
RUN npx vite build && node scripts/licences.mjs ../cloud/static/licences.txt

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /venv
COPY requirements.lock ./
RUN /venv/bin/pip install --no-cache-dir --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY openvrc openvrc
COPY simulator simulator
COPY edge edge
COPY cloud cloud
COPY web web
COPY --from=page /src/cloud/static cloud/static
RUN /venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-index .

FROM python:3.12-slim
# A fixed uid, so that volumes keep their owner over image updates.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin vrc \
    && install -d -o vrc -g vrc /var/lib/vrc
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    VRC_DATA_DIR=/var/lib/vrc \
    VRC_ZONES_DIR=/var/lib/vrc/zones
USER vrc
WORKDIR /var/lib/vrc
VOLUME /var/lib/vrc
ENTRYPOINT ["vrc"]
CMD ["--help"]
