# shellcheck shell=bash
# Part of deploy/local/servers: how PostgreSQL is prepared, started, asked and cleaned up after a crash.

# PostgreSQL refuses to run as root; the caller's PG* variables must not reach it
postgres_env() {
    run=(env -i PATH="$PATH" LC_ALL=C TZ=UTC)
    owner=$(id -un)
    ((EUID == 0)) || return 0
    owner=postgres
    id postgres >/dev/null 2>&1 || owner=nobody
    run=(setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups "${run[@]}")
}

postgres_prepare() {
    if ((EUID == 0)); then
        chown "$owner" "$home"
        chmod a+x "$dir"
        "${run[@]}" test -w "$home" || die "$dir is out of reach of the user $owner: take a folder under /tmp"
    fi
    postgres_tidy
    [[ ! -d $home/data ]] || return 0
    rm -rf "$home/data.new"
    (cd / && "${run[@]}" "$bin/initdb" -D "$home/data.new" -U postgres -A trust -E UTF8 --locale=C --no-sync) \
        >>"$home/log" 2>&1 || { tail -n 5 "$home/log" >&2; die "initdb failed: see the lines above"; }
    # the default, POSIX shared memory, would outlive a server that is killed and never started again
    printf '%s\n' "dynamic_shared_memory_type = mmap" "include '../settings.conf'" >>"$home/data.new/postgresql.conf"
    mv "$home/data.new" "$home/data"
}

postgres_launch() {
    daemon server "${run[@]}" "$bin/postgres" -D "$home/data" -p "$(<"$home/port")" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories=
}

postgres_ready() { [[ $(sed -n 8p "$home/data/postmaster.pid" 2>/dev/null) == ready* ]]; }
postgres_url() { echo "postgres://postgres@127.0.0.1:$(<"$home/port")/postgres"; }

# after a crash: waits for the backends that outlived the server, then removes what it left; a stale postmaster.pid
# whose number another process has by now would keep the server from starting
postgres_tidy() {
    local file=$home/data/postmaster.pid key id tries=200
    [[ -f $file ]] || return 0
    read -r key id < <(sed -n 7p "$file") || true
    while [[ $(shared_memory_users) -gt 0 ]]; do
        ((tries-- > 0)) || die "processes of a killed server still run on $home: end them, then try again"
        sleep 0.05
    done
    [[ ! $(shared_memory_users) ]] || ipcrm -m "$id" || true
    rm -f "$file"
}
shared_memory_users() { awk -v key="$key" -v id="$id" '$1 == key && $2 == id { print $7 }' /proc/sysvipc/shm; }
