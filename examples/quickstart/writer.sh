# Writes a letter into $INBOX every $PAUSE seconds.
number=0
while :; do
    number=$((number + 1))
    # Renamed once it is complete, so that nobody reads half a letter.
    echo "letter $number, from process $$" > "$INBOX/.draft"
    mv "$INBOX/.draft" "$INBOX/letter-$number"
    echo "wrote letter $number"
    sleep "$PAUSE"
done
