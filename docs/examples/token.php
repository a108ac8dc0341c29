<?php
// SPDX-License-Identifier: MIT
// A token for a reader: php token.php KEYFILE USER CHANNEL
[, $file, $user, $channel] = $argv;
$part = fn ($text) => rtrim(strtr(base64_encode($text), '+/', '-_'), '=');
$key = rtrim(file_get_contents($file), "\r\n");
$text = $part(json_encode(['alg' => 'HS256', 'typ' => 'JWT'])) . '.' .
    $part(json_encode(['sub' => $user, 'iat' => time(), 'exp' => time() + 3600,
        'jti' => bin2hex(random_bytes(16)), 'walcast' => ['read' => [$channel]]]));
echo $text, '.', $part(hash_hmac('sha256', $text, $key, true)), "\n";
