#!/bin/sh
echo "api in $NODE_ENV with $1"
echo "ready"
exec sleep 1000
