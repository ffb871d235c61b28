#!/usr/bin/env bash
# Runs the linters and the tests, in an environment that the first call makes:
#
#   bash jobs/test.sh                  the linters, then the tests that take under ten seconds each
#   bash jobs/test.sh --all            the slow tests too; CI=true does the same
#   bash jobs/test.sh -k conformal     any argument of pytest; paths count from the repository root
#   bash jobs/test.sh -n 0 --pdb       in one process; two are the default
#
# Tests that need the internet run only when asked for: bash jobs/test.sh -m network
set -euo pipefail

source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

markers='not slow and not network'
[ "${CI:-}" != true ] || markers='not network'
arguments=()
for argument in "$@"; do
  if [ "$argument" = --all ]; then
    markers='not network'
  else
    arguments+=("$argument")
  fi
done

prepare_environment
cd -- "$repository"

failed=()
check() {
  printf '== %s\n' "$*"
  "$venv/bin/$@" || failed+=("$*")
}
check ruff check .
check ruff format --check .
check mypy
check lint-imports --no-logo
[ "${#failed[@]}" -eq 0 ] || fail "the tests were not run: $(printf '%s; ' "${failed[@]}")see above"

printf '== pytest -m "%s" %s\n' "$markers" "${arguments[*]}"
exec "$venv/bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "$markers" "${arguments[@]}"
