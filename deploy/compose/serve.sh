#!/bin/sh
# Runs httpd, and stays after a stop until its last client has gone: streams that the daemon has taken over still use the
# network of this container, which the engine takes away when the container ends.
set -eu
apache2-foreground &
httpd=$! stopped=''
trap 'stopped=1; kill -WINCH $httpd' WINCH TERM
status=0
wait $httpd || status=$?
# A signal ends the wait, not httpd.
while kill -0 $httpd 2>/dev/null; do
  status=0
  wait $httpd || status=$?
done
# If nobody told it to end, a new one has to start.
[ -n "$stopped" ] || exit $status
# Established (1), or the client has closed its side (8).
clients() { grep -qE '^ *[0-9]+: \S+ \S+ 0[18] ' /proc/net/tcp /proc/net/tcp6; }
while clients; do sleep 0.2; done
exit $status
