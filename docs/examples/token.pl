#!/usr/bin/perl
# SPDX-License-Identifier: MIT
# A token for a reader: perl token.pl KEYFILE USER CHANNEL
use strict; use warnings;
use Digest::SHA 'hmac_sha256'; use JSON::PP 'encode_json'; use MIME::Base64 'encode_base64url';
my ($file, $user, $channel) = @ARGV;
open my $f, '<', $file or die "$file: $!"; my $key = do { local $/; <$f> }; $key =~ s/[\r\n]+$//;
my $text = join '.', map { encode_base64url(encode_json($_)) } { alg => 'HS256', typ => 'JWT' },
    { sub => $user, iat => time, exp => time + 3600, walcast => { read => [$channel] } };
print $text, '.', encode_base64url(hmac_sha256($text, $key)), "\n";
