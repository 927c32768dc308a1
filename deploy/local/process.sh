# shellcheck shell=bash disable=SC2154
# Processes and ports: read by deploy/local/servers and deploy/dev. `home` is the folder of the service, and the caller's.

started() { # PID; prints when it was started, which tells it from a later process of the same number
    local stat fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] && echo "${fields[19]}"
}

live() { # NAME; prints the process id of the daemon of that name if it runs
    local pid since
    { read -r pid since <"$home/$1.pid"; } 2>/dev/null || return 1
    [[ $since && $(started "$pid") == "$since" ]] && echo "$pid"
}

# in a subshell that becomes a daemon: whoever reads a pipe of the caller's, or waits for its lock, would wait for the daemon too
close_descriptors() {
    local fd
    for fd in "/proc/$BASHPID/fd"/*; do
        fd=${fd##*/}
        ((fd <= 2 || fd == 255)) || eval "exec $fd>&-"
    done
}

daemon() { # NAME COMMAND...
    local name=$1
    shift
    (
        close_descriptors
        cd /
        exec setsid "$@" </dev/null >>"$home/log" 2>&1
    ) &
    echo "$! $(started $!)" >"$home/$name.pid"
    disown # bash would report its end
}

finish() { # PID SIGNAL SECONDS
    local tries=$(($3 * 20))
    kill -"$2" "$1" 2>/dev/null || return 0
    kill -CONT "$1" 2>/dev/null || true # one that is frozen would not act on the signal
    while started "$1" >/dev/null; do
        ((tries-- > 0)) || return 1
        sleep 0.05
    done
}

port_used() { grep -qs ":$(printf %04X "$1") " /proc/net/tcp /proc/net/tcp6; }

free_ports() { # prints the first of three ports that nobody uses
    local port
    while :; do
        # below the range of outgoing connections: while a server is down, a client that tries to reach it again and
        # again could otherwise be given its port, and the server could not come back
        port=$((20000 + RANDOM % 3190 * 4))
        port_used "$port" || port_used $((port + 1)) || port_used $((port + 2)) || break
    done
    echo "$port"
}
