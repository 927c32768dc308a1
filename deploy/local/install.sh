# shellcheck shell=bash
# Part of deploy/local/servers: finds the servers' programs, and installs what is missing with apt-get.

postgres_bin() { # prints the folder of the server's programs
    local bin
    while read -r bin; do
        if [[ -x $bin/postgres && -x $bin/initdb ]]; then echo "$bin"; return; fi
    done < <(dirname "$(command -v postgres || echo /-/-)"; pg_config --bindir 2>/dev/null || true
        printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV)
    return 1
}

rabbitmq_bin() {
    local bin
    # rabbitmq-env tells the real scripts from a distribution's wrappers, which insist on root or the user rabbitmq
    for bin in "$(dirname "$(readlink -f "$(command -v rabbitmq-server || echo /-/-)")")" \
        /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin /usr/local/lib/rabbitmq*/sbin /opt/rabbitmq/sbin; do
        if [[ -x $bin/rabbitmq-server && -r $bin/rabbitmq-env ]]; then echo "$bin"; return; fi
    done
    return 1
}

pgbouncer_bin() { command -v pgbouncer || { [[ -x /usr/sbin/pgbouncer ]] && echo /usr/sbin/pgbouncer; }; }

install() { # [pgbouncer]
    local missing=()
    postgres_bin >/dev/null || missing+=(postgresql)
    rabbitmq_bin >/dev/null || missing+=(rabbitmq-server)
    [[ ${1-} != pgbouncer ]] || pgbouncer_bin >/dev/null || missing+=(pgbouncer)
    [[ ${missing[*]} ]] || return 0
    command -v apt-get >/dev/null ||
        die "missing ${missing[*]}, and there is no apt-get: install with this system's package manager, then try again"
    note "installing ${missing[*]} with apt-get"
    if ((EUID == 0)); then
        apt_install "${missing[@]}"
    else
        command -v sudo >/dev/null || die "not root, and there is no sudo: run 'apt-get install ${missing[*]}' as root"
        sudo -- bash "$self" apt-install "${missing[@]}" || exit 1
    fi
    postgres_bin >/dev/null || die "postgres and initdb not found after installing: put their folder on PATH"
    rabbitmq_bin >/dev/null || die "rabbitmq-server not found after installing: put its sbin folder on PATH"
}

undo=()
apt_install() { # PACKAGE...
    local get=(apt-get -qq -y --no-install-recommends --no-upgrade -o DPkg::Lock::Timeout=300 install "$@") log had_epmd
    had_epmd=$(command -v epmd) || true
    exec 9</var/lib/dpkg && flock 9 # two at once would take away each other's policy-rc.d
    log=$(mktemp)
    undo=("$log")
    trap 'rm -f "${undo[@]}"' EXIT
    keep_services_off
    export DEBIAN_FRONTEND=noninteractive
    # the package lists may be absent or too old, which only the attempt tells
    "${get[@]}" >"$log" 2>&1 </dev/null || { apt-get -qq update && "${get[@]}"; } >>"$log" 2>&1 </dev/null ||
        { tail -n 20 "$log" >&2; die "apt-get could not install $*: see above, or install them by hand"; }
    # a service left enabled would start with the next boot; PostgreSQL's has no cluster to start
    [[ " $* " != *" rabbitmq-server "* ]] || update-rc.d rabbitmq-server disable >>"$log" 2>&1 || true
    [[ " $* " != *" pgbouncer "* ]] || update-rc.d pgbouncer disable >>"$log" 2>&1 || true
    [[ $had_epmd ]] || systemctl disable epmd.socket epmd.service >>"$log" 2>&1 || true
}

keep_services_off() {
    local policy=/usr/sbin/policy-rc.d clusters=/etc/postgresql-common/createcluster.d
    # a policy-rc.d that exists already is the owner's word on services; one of ours is left from a killed install
    if [[ ! -e $policy ]] || grep -q snapshot-lifecycle "$policy"; then
        undo+=("$policy")
        printf '#!/bin/sh\n# snapshot-lifecycle: only while installing\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    mkdir -p "$clusters"
    undo+=("$clusters/snapshot-lifecycle.conf")
    echo "create_main_cluster = off" >"$clusters/snapshot-lifecycle.conf"
}
