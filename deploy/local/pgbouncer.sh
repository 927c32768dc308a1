# shellcheck shell=bash
# Part of deploy/local/servers: the same for PgBouncer, in front of the PostgreSQL of the same folder.

pgbouncer_prepare() {
    local database
    postgres_env # PgBouncer refuses to run as root, too
    # its own default configuration but for the mode, which is what a program must be able to live with
    database="* = host=127.0.0.1 port=$(<"$dir/postgres/port") user=postgres"
    printf '%s\n' '[databases]' "$database" '[pgbouncer]' 'pool_mode = transaction' 'auth_type = any' \
        'listen_addr = 127.0.0.1' 'unix_socket_dir =' "%include $home/settings.conf" >"$home/pgbouncer.ini"
    chmod a+x "$dir"
}

pgbouncer_launch() {
    echo "listen_port = $(<"$home/port")" >>"$home/pgbouncer.ini"
    daemon server "${run[@]}" "$bin" "$home/pgbouncer.ini"
}

pgbouncer_ready() ( # not whether the port is in use: connections of the one before may linger on it
    { exec 3<>"/dev/tcp/127.0.0.1/$(<"$home/port")"; } 2>/dev/null
)
pgbouncer_url() { echo "postgres://postgres@127.0.0.1:$(<"$home/port")/postgres"; }
pgbouncer_tidy() { :; }
