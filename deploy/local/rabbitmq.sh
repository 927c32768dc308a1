# shellcheck shell=bash
# Part of deploy/local/servers: the same for RabbitMQ, and what only RabbitMQ has: rabbitmqctl and clusters.

# The ports are: epmd (the Erlang name service, a private one), AMQP, Erlang distribution. Who has the first has all
# three, since epmd holds it from the start. The caller's RABBITMQ_* and the system's /etc/rabbitmq must not reach it.
rabbitmq_env() {
    local port names loopback='-kernel inet_dist_use_interface {127,0,0,1}'
    port=$(<"$home/port")
    # the nodes of a cluster find each other by the name service of the first
    names=$port
    [[ ! -s $home/names ]] || names=$(<"$home/names")
    run=(env -i PATH="$PATH" HOME="$home" LC_ALL=C.UTF-8 ERL_CRASH_DUMP_SECONDS=0
        ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$names"
        RABBITMQ_NODENAME="rabbit-$(cksum <<<"$dir" | cut -d' ' -f1)@localhost"
        RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 RABBITMQ_NODE_PORT=$((port + 1)) RABBITMQ_DIST_PORT=$((port + 2))
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="$loopback" RABBITMQ_CTL_ERL_ARGS="$loopback"
        RABBITMQ_CTL_DIST_PORT_MIN=0 RABBITMQ_CTL_DIST_PORT_MAX=0
        RABBITMQ_CONF_ENV_FILE="$home/none" RABBITMQ_CONFIG_FILES="$home/none"
        RABBITMQ_ADVANCED_CONFIG_FILE="$home/none" RABBITMQ_CONFIG_FILE="$home/settings.conf"
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/plugins" RABBITMQ_PID_FILE="$home/node.pid"
        RABBITMQ_MNESIA_BASE="$home/data" RABBITMQ_LOG_BASE="$home" RABBITMQ_LOGS=-
        RUNNING_UNDER_SYSTEMD=yes) # the start script then becomes the server instead of waiting for it
}

rabbitmq_prepare() {
    local plugin
    mkdir -p "$home/data" "$home/lib/plugins"
    # RabbitMQ looks for each of its modules in the folder of every plugin, enabled or not: with links to all of it
    # except the plugins, it starts a quarter sooner
    rm -f "$home"/lib/plugins/*
    ln -sfn "$bin" "$home/lib/sbin"
    ln -sfn "${bin%/*}/escript" "$home/lib/escript"
    for plugin in "${bin%/*}"/plugins/*; do
        [[ ${plugin##*/} == rabbitmq_* && ${plugin##*/} != rabbitmq_prelaunch* ]] || ln -s "$plugin" "$home/lib/plugins/"
    done
    echo '[].' >"$home/plugins"
    rabbitmq_tidy
}

rabbitmq_launch() {
    local port
    port=$(<"$home/port")
    rabbitmq_env
    if [[ -s $home/names ]]; then
        daemon server "${run[@]}" "$home/lib/sbin/rabbitmq-server"
        return
    fi
    daemon epmd "${run[@]}" epmd
    while live epmd >/dev/null && ! port_used "$port"; do sleep 0.02; done
    sleep 0.1 # by then it has ended, if it was another process that took the port
    if live epmd >/dev/null; then
        daemon server "${run[@]}" "$home/lib/sbin/rabbitmq-server"
    else
        echo "epmd ended, port $port: address already in use" >>"$home/log" # it says nothing itself
    fi
}

rabbitmq_ready() ( # RabbitMQ opens its port last of all, once queues can be declared
    { exec 3<>"/dev/tcp/127.0.0.1/$(($(<"$home/port") + 1))"; } 2>/dev/null || return 1
    printf 'AMQP\0\0\11\1' >&3
    read -r -t 5 -n 1 answer <&3 2>/dev/null && [[ $answer == $'\1' ]]
)

rabbitmq_url() { echo "amqp://guest:guest@127.0.0.1:$(($(<"$home/port") + 1))/%2f"; }

rabbitmq_tidy() {
    local pid
    if pid=$(live epmd); then finish "$pid" KILL 10; fi
    rm -f "$home/epmd.pid"
}

rabbitmq_ctl() { # ARGS...
    # without its node, rabbitmqctl would start an epmd of its own and leave it behind
    live server >/dev/null || die "rabbitmq does not run: start it with '$self rabbitmq start $dir'"
    rabbitmq_env
    exec "${run[@]}" "$home/lib/sbin/rabbitmqctl" "$@"
}

rabbitmq_join() { # FIRST
    local first node step
    first=$(realpath -- "$1")/rabbitmq
    [[ -s $first/port ]] || die "no rabbitmq was started in $1: run '$self rabbitmq start $1'"
    node=rabbit-$(cksum <<<"${first%/rabbitmq}" | cut -d' ' -f1)@localhost
    mkdir -p "$home"
    command install -m 400 "$first/.erlang.cookie" "$home/.erlang.cookie"
    cp "$first/port" "$home/names"
    start >/dev/null
    for step in stop_app "join_cluster $node" start_app; do
        # shellcheck disable=SC2086 # a command and its argument
        (rabbitmq_ctl $step) >>"$home/log" 2>&1 || { tail -n 5 "$home/log" >&2; die "could not join: see the lines above"; }
    done
    rabbitmq_url
}
