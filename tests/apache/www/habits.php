<?php
// Habits of PHP and of browsers that docs/php.md tells of. The query says which.
declare(strict_types=1);

$case = $_GET['case'] ?? '';
$sign = static fn (string $name) => dirname(__DIR__) . '/sessions/' . $name;
if ($case === 'page') {
    exit(str_repeat('A page. ', 1000));
}
if ($case === 'preflight') {
    header('Access-Control-Allow-Origin: ' . ($_SERVER['HTTP_ORIGIN'] ?? '*'));
    header('Access-Control-Allow-Headers: Content-Type');
    if ($_SERVER['REQUEST_METHOD'] === 'OPTIONS') {
        http_response_code(204);
        exit;
    }
}
if ($case === 'session') {
    session_save_path($sign(''));
    session_start();
    $_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
    session_write_close();
    if (isset($_GET['count'])) {
        exit((string) $_SESSION['visits']);
    }
}
if ($case === 'sent') {
    echo 'a space before the headers';
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
    flush();
}
if ($case === 'buffered') {
    ob_start();
    echo 'printed before the headers';
}
ini_set('display_errors', '1');
header('X-Socket-Handoff: ' . (getenv('HANDOFF_SOCKET') ?: $_SERVER['HANDOFF_SOCKET']));
header('X-Handoff-Data: {"prompt":"hello","format":"text"}');
if ($case === 'buffered') {
    flush();
    file_put_contents($sign('flushed'), '');
    for ($i = 0; $i < 1000 && !file_exists($sign('go')); $i++) {
        usleep(10000);
    }
}
