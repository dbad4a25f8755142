# A service that bears witness: it writes down its own starts and ends, and whether it was ever doubled.
#
#   witness.sh NAME stay                 runs until SIGTERM
#   witness.sh NAME flood                the same, counting lines on stdout as fast as it may
#   witness.sh NAME once SECONDS CODE    ends by itself
#   witness.sh NAME retry                exits 5 at its first start of an edition, then 0
name=$1 what=$2
# As the first process of a container it is known by the container's id.
me=$$
[ "$me" -ne 1 ] || me=$(hostname)
exec 9>>"w/$name.lock"
flock -n 9 || echo "$name $me" >>w/doubles
n=$(($(cat "w/$name.starts" 2>/dev/null | wc -l) + 1))
echo "$n $me $EDITION" >>"w/$name.starts"
stop=
case $what in
stay)
    trap 'stop=1' TERM
    sleep 0.02 9>&-
    echo up
    # One that has to be ended with it.
    sleep 1000 9>&- &
    while [ -z "$stop" ]; do
        # A signal between the look above and the wait below costs no more than this.
        sleep 0.5 9>&- &
        wait $!
    done
    sleep 0.02 9>&-
    echo "$n term" >>"w/$name.exits"
    ;;
flood)
    trap 'stop=1' TERM
    i=0
    echo up
    while [ -z "$stop" ]; do
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
            i=$((i + 1))
            echo "$n $i"
        done
        echo "$i" >"w/$name.count.$n"
        sleep 0.02 9>&-
    done
    echo "$n term $i" >>"w/$name.exits"
    ;;
once)
    sleep "$3" 9>&-
    echo "$n done $4" >>"w/$name.exits"
    exit "$4"
    ;;
retry)
    [ -e "w/$name.$EDITION" ] && exit 0
    touch "w/$name.$EDITION"
    exit 5
    ;;
esac
