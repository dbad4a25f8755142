# A guest book over HTTP, on the port given as argument. psql asks the database that PGHOST and PGPORT name.
use strict;
use warnings;
use IO::Socket::INET;

$| = 1;
$SIG{PIPE} = 'IGNORE';

my ($port) = @ARGV;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 128, ReuseAddr => 1)
    or die "cannot listen on $port: $@\n";
print "listening on $port\n";
while (1) {
    my $peer = $server->accept or next;
    my $request = <$peer> // next;
    my (undef, $path) = split ' ', $request;
    my $who = 'somebody';
    while (my $line = <$peer>) {
        last if $line =~ /^\r?$/;
        $who = $1 if $line =~ /^User-Agent: ([\x20-\x7e]*)/i;
    }
    if ($path eq '/') {
        answer($peer, sql('-f', 'sign.sql', '-v', "who=$who"));
        print "signed by $who\n";
    } elsif ($path eq '/health') {
        answer($peer, sql('-c', 'SELECT count(*) FROM visit'));
    } else {
        answer($peer, "not here\n", '404 Not Found');
    }
}

# What the database answers; nothing if it does not.
sub sql {
    open my $psql, '-|', 'psql', '-XqtA', '-v', 'ON_ERROR_STOP=1', @_ or return;
    my $said = join '', <$psql>;
    return close $psql ? $said : undef;
}

sub answer {
    my ($peer, $text, $status) = @_;
    $status //= defined $text ? '200 OK' : '503 Service Unavailable';
    $text //= "no database\n";
    print $peer "HTTP/1.1 $status\r\nContent-Type: text/plain\r\nContent-Length: ", length $text,
        "\r\nConnection: close\r\n\r\n$text";
    close $peer;
}
