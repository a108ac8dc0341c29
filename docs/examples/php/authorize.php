<?php
// SPDX-License-Identifier: MIT
// Walcast asks this script what a visitor may read (see sse.fcgi(8)):
//
//	authorizer = fcgi:/run/php/php-fpm.sock:/var/www/site/authorize.php
//
// and in access.conf:  app read user.*

require __DIR__ . '/walcast.php';

session_start(['read_and_close' => true]);
if (!isset($_SESSION['user'])) {
	http_response_code(403);
	exit;
}
$name = walcast_name($_SESSION['user']);
header('X-Walcast-User: ' . $_SESSION['user']);
header("X-Walcast-Channels: user.$name, user.$name.*");
header('X-Walcast-Max-Age: 60');
