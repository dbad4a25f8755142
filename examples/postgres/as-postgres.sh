#!/bin/sh
# Runs a command as the user postgres if we are root, and as ourselves otherwise.
[ "$(id -u)" -eq 0 ] || exec "$@"
exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
