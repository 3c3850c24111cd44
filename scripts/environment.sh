# Sourced by the other scripts: makes .venv with athanor and the extras in $EXTRAS, quickly when it is there.
#
# PYTHON       the interpreter to use (3.11 to 3.13); searched for when unset
# ATHANOR_VENV the virtual environment (default .venv)
# ATHANOR_TORCH the version of torch to install (default 2.13.0)

VENV="${ATHANOR_VENV:-.venv}"
TORCH="${ATHANOR_TORCH:-2.13.0}"

usable() {
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3 python; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python 3.11 to 3.13 with the venv module found; install one, or name it: PYTHON=/path/to/python3 $0" >&2
    exit 1
}

# On Linux without an NVIDIA GPU the index of CPU builds saves some gigabytes, where it can be reached.
torch_index() {
    [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1 || return 0
    "$VENV/bin/python" - <<'PROBE' && echo "--extra-index-url https://download.pytorch.org/whl/cpu"
import sys, urllib.request
try:
    urllib.request.urlopen("https://download.pytorch.org/whl/cpu/torch/", timeout=3)
except Exception:
    sys.exit(1)
PROBE
    return 0
}

prepare_environment() {
    extras="$1"
    wanted="$extras torch==$TORCH $(cksum <pyproject.toml) $(pwd)"
    stamp="$VENV/.athanor-$(echo "$extras" | tr ',' '-')"
    if [ -x "$VENV/bin/athanor" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    if [ ! -x "$VENV/bin/python" ]; then
        python="$(find_python)" || exit 1
        echo "making $VENV with $("$python" --version)"
        "$python" -m venv "$VENV"
    fi
    echo "installing athanor[$extras] into $VENV (torch $TORCH first; a few minutes)"
    export PIP_DISABLE_PIP_VERSION_CHECK=1
    # shellcheck disable=SC2046
    "$VENV/bin/python" -m pip install --quiet "torch==$TORCH" $(torch_index)
    constraint="$VENV/.athanor-constraint"
    echo "torch==$("$VENV/bin/python" -c 'from importlib.metadata import version; print(version("torch").split("+")[0])')" >"$constraint"
    "$VENV/bin/python" -m pip install --quiet --constraint "$constraint" --editable ".[$extras]"
    echo "$wanted" >"$stamp"
}
