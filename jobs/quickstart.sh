#!/usr/bin/env bash
# The quick start: makes the environment on the first call, then generates a small sample with Pythia 8, searches it for
# dark matter and writes the result page, without the internet. The last line says where the page is.
#
# Every call writes results/quickstart anew (--force): it holds nothing but what this script made.
set -euo pipefail

source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

prepare_environment
cd -- "$repository"

results="$repository/results/quickstart"
"$venv/bin/darkop" run jobs/quickstart.yml --output "$results" --force "$@"

page="$results/report/index.html"
[ -s "$page" ] || fail "the run ended without the page $page"
printf 'The result page: %s\n' "$page"
