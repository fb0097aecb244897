<?php
// Says what the query says: the test decides which headers there are and when they leave.
foreach (['socket' => 'X-Socket-Handoff', 'data' => 'X-Handoff-Data', 'file' => 'X-Handoff-Data-File'] as $parameter => $header) {
    if (isset($_GET[$parameter])) {
        header("$header: " . $_GET[$parameter]);
    }
}
foreach ($_GET['header'] ?? [] as $header) {
    header($header, false);
}
if (isset($_GET['session'])) {
    session_save_path(dirname(__DIR__) . '/sessions');
    session_start();
    session_regenerate_id(true);
}
if (isset($_GET['bytes'])) {
    // Numbered, so that a part that is missing or in the wrong place shows.
    $data = '';
    for ($number = 0; strlen($data) < (int)$_GET['bytes']; $number++) {
        $data .= sprintf('%06d,', $number);
    }
    $data = substr($data, 0, (int)$_GET['bytes']);
    $parts = isset($_GET['line']) ? str_split($data, (int)$_GET['line']) : [];
    // From the last to the first: the numbers give the order.
    for ($number = count($parts); $number > 0; $number--) {
        header("X-Handoff-Data-$number: " . $parts[$number - 1]);
    }
    if ($parts === []) {
        header("X-Handoff-Data: $data");
    }
}
foreach ($_GET['part'] ?? [] as $name => $value) {
    header("X-Handoff-Data-$name: $value");
}
foreach ($_GET['again'] ?? [] as $name => $value) {
    header('X-Handoff-Data' . ($name === 'whole' ? '' : $name) . ": $value", false);
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
