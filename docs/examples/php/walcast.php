<?php
// SPDX-License-Identifier: MIT
// What a PHP site needs of Walcast: publish, revoke, and names in channels.

const WALCAST_SOCKET = '/run/walcast/pubd.sock';

// A line to pubd and its answer; throws when it was not done.
function walcast_ask(array $request): array
{
	$path = getenv('WALCAST_SOCKET') ?: WALCAST_SOCKET;
	$s = stream_socket_client("unix://$path", $code, $why, 5);
	if (!$s) {
		throw new RuntimeException("pubd: $why");
	}
	stream_set_timeout($s, 5);
	fwrite($s, json_encode($request) . "\n");
	$answer = json_decode(fgets($s) ?: 'null', true);
	fclose($s);
	if (!($answer['ok'] ?? false)) {
		throw new RuntimeException($answer['message'] ?? 'pubd: no answer');
	}
	return $answer;
}

function walcast_publish(string $channel, $data): int
{
	return walcast_ask(['channel' => $channel, 'data' => $data])['id'];
}

// Ends all streams of a user, and refuses the tokens that he has.
function walcast_revoke(string $user): void
{
	walcast_ask(['op' => 'revoke', 'user' => $user]);
}

// A user's name as a part of a channel, as $user_label writes it.
function walcast_name(string $user): string
{
	return preg_replace_callback('/[^A-Za-z0-9_@-]/',
	    fn ($m) => sprintf('%%%02X', ord($m[0])), $user);
}
