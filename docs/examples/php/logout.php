<?php
// SPDX-License-Identifier: MIT
// The session first, so that who comes again is nobody; then his streams.

require __DIR__ . '/walcast.php';

session_start();
$user = $_SESSION['user'] ?? null;
$_SESSION = [];
session_destroy();
if ($user !== null) {
	walcast_revoke($user);
}
