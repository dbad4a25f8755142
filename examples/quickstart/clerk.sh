# Moves letters from $INBOX to $ARCHIVE.
echo "waiting for letters in $INBOX"
while :; do
    for letter in "$INBOX"/letter-*; do
        [ -e "$letter" ] || continue
        echo "filed: $(cat "$letter")"
        mv "$letter" "$ARCHIVE"
    done
    sleep 0.2
done
