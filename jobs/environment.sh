# Sourced by quickstart.sh and test.sh: one virtual environment for both, .venv in the repository root.
#
# Needs bash, Python 3.11 or newer, and either the venv package with ensurepip (Debian: python3-venv) or pip (Debian:
# python3-pip). Every version comes from constraints.txt. pip finds packages wherever it is configured to look: whoever
# wants torch built for the CPU alone, and no gigabytes of CUDA, names its place to pip (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL).
#
# After prepare_environment, $repository and $venv are set and the environment holds the project (editable), all of its
# extras and its dev group. A stamp in the environment makes the next call return at once.

repository="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$repository/.venv"
constraints="$repository/constraints.txt"

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# The newest suitable interpreter goes into $python; PYTHON in the environment replaces the search.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      python="$candidate"
      return 0
    fi
    [ "$candidate" != "${PYTHON:-}" ] || fail "PYTHON=$PYTHON is not a Python 3.11 or newer"
  done
  return 1
}

# Debian leaves ensurepip out of python3 and keeps it in python3-venv; Debian's pip can stand in for it.
can_make_venv() {
  find_python && { "$python" -c 'import ensurepip, venv' || "$python" -c 'import pip, venv'; } 2>/dev/null
}

require_python() {
  can_make_venv && return
  if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    printf 'installing python3 and python3-venv\n'
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3 python3-venv >/dev/null
    can_make_venv && return
  fi
  [ -n "${python:-}" ] || fail "no Python 3.11 or newer was found. On Debian 12: apt-get install python3 python3-venv"
  fail "$python has neither ensurepip nor pip. On Debian: apt-get install python3-venv"
}

make_venv() {
  if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv "$venv"
  else
    "$python" -m venv --without-pip "$venv"
    "$python" -m pip --quiet --python "$venv/bin/python" install --constraint "$constraints" pip
  fi
}

# What the environment was made from: the project's metadata, the pins, the place and the interpreter.
fingerprint() {
  { cat "$repository/pyproject.toml" "$constraints"; printf '%s\n' "$repository"; "$venv/bin/python" -VV; } | sha256sum
}

install_project() {
  local pip=("$venv/bin/python" -m pip --no-input --disable-pip-version-check install --constraint "$constraints")
  [ -t 1 ] || pip+=(--quiet)
  printf 'installing pip and the build backend into %s\n' "$venv"
  "${pip[@]}" --upgrade pip hatchling editables
  printf 'installing torch: alone, so that the pin decides and nothing else\n'
  "${pip[@]}" "$(grep '^torch==' "$constraints")"
  printf 'installing darkop-dist with all extras and the dev group: this takes minutes\n'
  (cd -- "$repository" && "${pip[@]}" --no-build-isolation --editable '.[all]' --group dev)
  "$venv/bin/python" -m pip --disable-pip-version-check check
}

prepare_environment() {
  local stamp="$venv/darkop-stamp" unfinished="$venv/darkop-unfinished"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint 2>/dev/null)" ]; then
    return
  fi
  require_python
  # Only what an interrupted install left, or an environment that cannot run, is thrown away.
  if [ -e "$unfinished" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    rm -rf -- "$venv"
    make_venv
  fi
  rm -f -- "$stamp"
  touch -- "$unfinished"
  install_project
  fingerprint >"$stamp.new"
  rm -f -- "$unfinished"
  mv -- "$stamp.new" "$stamp"
}
