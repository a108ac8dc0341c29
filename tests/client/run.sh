#!/bin/sh
# SPDX-License-Identifier: MIT
# The client's own tests, without servers: its sources, then what is shipped in
# client/dist.  Installs from the npm registry, by the lock file, what is missing.

set -eu

cd "$(dirname "$0")"
if [ ! -d node_modules ] || [ package-lock.json -nt node_modules ]; then
	npm ci --no-audit --no-fund --silent
	touch node_modules
fi
node --test --test-reporter=dot .
WALCAST_CLIENT=dist node --test --test-reporter=dot .
echo "client: all tests passed, from source and as shipped"
