<?php
// SPDX-License-Identifier: MIT
require __DIR__ . '/walcast.php';
session_start(['read_and_close' => true]);
$name = walcast_name($_SESSION['user'] ?? 'nobody');
?>
<!doctype html>
<title>page</title>
<pre id="events"></pre>
<script>
const channel = <?= json_encode("user.$name") ?>;
const source = new EventSource(
    "/sse.fcgi?channel=" + encodeURIComponent(channel));
const show = (text) => events.append(text + "\n");
source.onmessage = (e) => show(e.data);
source.addEventListener("control.open", () => show("open"));
source.addEventListener("control.close",
    (e) => show("close " + JSON.parse(e.data).reason));
source.onerror = () => {
	if (source.readyState === EventSource.CLOSED) show("refused");
};
</script>
