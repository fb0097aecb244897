<?php
// Says what the query says: the test decides which headers there are and when they leave.
foreach (['socket' => 'X-Socket-Handoff', 'data' => 'X-Handoff-Data'] as $parameter => $header) {
    if (isset($_GET[$parameter])) {
        header("$header: " . $_GET[$parameter]);
    }
}
if (isset($_GET['bytes'])) {
    header('X-Handoff-Data: ' . str_repeat('x', (int)$_GET['bytes']));
}
if (isset($_GET['status'])) {
    http_response_code((int)$_GET['status']);
}
echo 'from the application';
if (isset($_GET['flush'])) {
    flush();
    file_get_contents('php://input');
    echo 'more from the application';
}
