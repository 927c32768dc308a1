# shellcheck shell=bash
# Part of deploy/local/servers: start, stop and crash of one service. What differs is in functions named after it, as "${service}_ready".

use() { # SERVICE; what follows acts on it
    service=$1 home=$dir/$1
}

find_programs() {
    bin=$("${service}_bin") || die "$service is not installed: run '$self install'"
}

lock() { # one start, stop or kill at a time
    mkdir -p "$home"
    exec 9>"$home/lock" && flock 9
}

keep_settings() { # NAME=VALUE...
    local setting name value quote='' file=$home/settings.conf
    [[ $service != postgres ]] || quote="'"
    touch "$file"
    cp "$file" "$file.before"
    for setting in "$@"; do
        name=${setting%%=*} value=${setting#*=}
        [[ ! $quote ]] || value=${value//"'"/"''"}
        { grep -v "^${name//./\\.} = " "$file" || true; } >"$file.new"
        echo "$name = $quote$value$quote" >>"$file.new"
        mv "$file.new" "$file"
    done
}

await() {
    local deadline=$((SECONDS + 90))
    until "${service}_ready"; do
        live server >/dev/null && ((SECONDS < deadline)) || return 1
        sleep 0.05
    done
}

start() { # [NAME=VALUE...]
    local attempt fresh before
    find_programs
    lock
    # RabbitMQ's own limit would stop it on a small disk
    [[ $service != rabbitmq || -s $home/settings.conf ]] || set -- disk_free_limit.absolute=100MB "$@"
    keep_settings "$@"
    if live server >/dev/null; then
        (($# == 0)) || note "$service runs already: the settings hold from its next start on"
        await || die "$service does not answer: see $home/log, or start again after '$self $service kill $dir'"
        "${service}_url"
        return
    fi
    [[ $service != postgres ]] || postgres_env
    "${service}_prepare"
    for attempt in 1 2 3 4 5; do
        : >>"$home/log"
        before=$(stat -c %s "$home/log")
        fresh=
        [[ -s $home/port ]] || { free_ports >"$home/port"; fresh=$attempt; }
        rm -f "$home/server.pid"
        "${service}_launch"
        if await; then "${service}_url"; return; fi
        crash
        # only a port that no caller was told yet can be given up for another
        [[ $fresh ]] || break
        rm -f "$home/port"
        tail -c "+$((before + 1))" "$home/log" |
            grep -iE 'address already in use|eaddrinuse|already a epmd' >/dev/null || break
    done
    mv "$home/settings.conf.before" "$home/settings.conf"
    tail -c "+$((before + 1))" "$home/log" | tail -n 20 >&2
    die "$service did not start: see the lines above, from $home/log"
}

stop() { # SIGNAL
    local pid
    [[ -d $home ]] || return 0
    lock
    if pid=$(live server); then
        finish "$pid" "$1" 60 || die "$service did not stop in 60 s: use '$self $service kill $dir'"
    fi
    "${service}_tidy"
}

crash() {
    local pid family
    if pid=$(live server); then
        kill -STOP "$pid" # so that it has no more children than those found now
        family=$(grep -lsE "^PPid:[[:space:]]+$pid\$" /proc/[0-9]*/status | cut -d/ -f3 || true)
        for pid in $pid $family; do kill -KILL "$pid" 2>/dev/null || true; done
        for pid in $pid $family; do finish "$pid" KILL 10 || true; done
    fi
    "${service}_tidy"
}
