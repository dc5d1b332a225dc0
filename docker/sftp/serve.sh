#!/bin/sh
# A login and a folder for each public key keys/{branch_id}.pub. A key that was taken away locks its branch out; what it
# delivered stays. Numbers of users come from the branch's number, so that files keep their owner.
set -eu
keys=/etc/ssh/branch_keys
host_key=/etc/ssh/host_keys/ssh_host_ed25519_key
getent group kkbc >/dev/null || groupadd --gid 10001 kkbc
[ -f "$host_key" ] || ssh-keygen -q -t ed25519 -N "" -f "$host_key"
rm -rf "$keys" && mkdir -p "$keys" /run/sshd
for key in /etc/kkbc/keys/*.pub; do
  [ -f "$key" ] || continue
  branch=$(basename "$key" .pub)
  case "$branch" in
    KC[0-9][0-9][0-9]) number=$(expr 20000 + "${branch#KC}") ;;
    HQ) number=20000 ;;
    *) echo "$key: named after no branch, ignored" >&2; continue ;;
  esac
  id "$branch" >/dev/null 2>&1 || useradd --uid "$number" --gid nogroup --no-create-home --home-dir / \
    --shell /usr/sbin/nologin --password '*' "$branch"
  install -m 0644 "$key" "$keys/$branch.pub"
  mkdir -p "/srv/branches/$branch"
  # The group reads: Airflow's user is in it, no branch is. Set-group-id hands the group down to what the branch writes.
  chown "$branch:kkbc" "/srv/branches/$branch" && chmod 2750 "/srv/branches/$branch"
done
exec /usr/sbin/sshd -D -e
