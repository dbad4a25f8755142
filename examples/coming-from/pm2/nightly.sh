#!/bin/sh
echo "backed up"
