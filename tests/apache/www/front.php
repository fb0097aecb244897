<?php
// An application that answers all its addresses by itself; the query adds what the test wants.
header('X-Socket-Handoff: ' . ($_SERVER['HANDOFF_SOCKET'] ?? getenv('HANDOFF_SOCKET')));
header('X-Handoff-Data: {"prompt":"hello"}');
header('X-Seen: ' . ($_SERVER['SOCKET_HANDOFF'] ?? 'none') . ' ' . $_SERVER['REQUEST_URI']);
header('Vary: Origin');
foreach ($_GET['header'] ?? [] as $header) {
    header($header);
}
http_response_code((int) ($_GET['status'] ?? 200));
echo str_repeat('a body of the application, foo ', 1000);
