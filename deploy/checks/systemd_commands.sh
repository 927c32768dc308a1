# shellcheck shell=bash
# Runs the commands that operating.md has for systemd, as root in a mount namespace of its own, where what they write into /etc and
# /usr/local/bin is gone with it. No systemd runs there: `systemctl` verifies the unit, and starts its program as the unit says, with
# the credentials and variables that it names.
set -euo pipefail
root=$1 folder=$2 # the program is $folder/snapshot-lifecycle

mkdir "$folder/layers" "$folder/bin" "$folder/credentials"
mount -t tmpfs tmpfs "$folder/layers"
for path in /etc /usr/local/bin; do
    layer=$folder/layers$path
    mkdir -p "$layer/upper" "$layer/work"
    mount -t overlay overlay -o "lowerdir=$path,upperdir=$layer/upper,workdir=$layer/work" "$path"
done
install "$folder/snapshot-lifecycle" /usr/local/bin/

printf '#!/bin/sh\nexec "$@"\n' >"$folder/bin/sudo"
cat >"$folder/bin/systemctl" <<'END'
#!/usr/bin/env bash
set -euo pipefail
unit=/etc/systemd/system/snapshot-lifecycle.service
case $* in
daemon-reload) SYSTEMD_LOG_LEVEL=warning systemd-analyze verify "$unit"; exit ;;
'enable --now snapshot-lifecycle') ;;
*) echo "systemctl: $*: the check knows nothing of it" >&2; exit 2 ;;
esac
while IFS=: read -r name file; do
    [[ $(stat -c %a:%U "$file") == 600:root ]] || { echo "systemctl: not root's alone: $file" >&2; exit 1; }
    cp "$file" "$folder/credentials/$name"
done < <(sed -n 's/^LoadCredential=//p' "$unit")
read -ra variables < <(sed -n "s|%d|$folder/credentials|g; s/^Environment=//p" "$unit")
read -ra command < <(sed -n 's/^ExecStart=//p' "$unit")
env -i "${variables[@]}" LIFECYCLE_HTTP_ADDR=127.0.0.1:0 "${command[@]}" 2>"$folder/worker.log" &
echo $! >"$folder/worker.pid"
for ((tries = 0; tries < 300; tries++)); do
    ! grep -q '"message":"consuming"' "$folder/worker.log" || exit 0
    sleep 0.2
done
cat "$folder/worker.log" >&2
exit 1
END
chmod 755 "$folder/bin"/*

commands=$(sed -n '/^## systemd/,/^```$/p' "$root/deploy/operating.md" | sed '1,/^```sh$/d; $d')
((10 >= $(wc -l <<<"$commands"))) || { echo 'operating.md needs more than ten commands to a worker on systemd' >&2; exit 1; }
cd "$root"
export folder
PATH=$folder/bin:/usr/local/bin:$PATH bash -euxo pipefail -c "$commands"
pid=$(cat "$folder/worker.pid")
kill -TERM "$pid"
for ((tries = 0; tries < 150; tries++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.2
done
grep -q '"message":"stopped"' "$folder/worker.log"
