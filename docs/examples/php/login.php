<?php
// SPDX-License-Identifier: MIT
// Where a site checks the password.  This one takes every name.

session_start();
session_regenerate_id(true);
$_SESSION['user'] = $_POST['user'] ?? exit('no user');
header('Location: page.php');
