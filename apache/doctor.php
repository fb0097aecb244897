<?php
// Says what is missing for a handoff, a line each, with what to do. Put it beside stream.php while you set up,
// and give httpd (or the pool of php-fpm) the variable HANDOFF_DOCTOR_KEY. Without it, this file answers 404.
//
//   curl 'http://example.org/chat/doctor.php?key=KEY'                            what PHP can see
//   streaming-daemon check --apache 'http://example.org/chat/doctor.php?key=KEY' that, and one streamed answer
//
// In the words of PHP 7.0, so that a PHP that is too old gets a line too, and not an empty page.
declare(strict_types=1);

const OLDEST_PHP = '8.1.0';
const DEFAULT_SOCKET = '/run/streaming-daemon/streaming-daemon.sock';

const ERRNO_NOT_FOUND = 2;
const ERRNO_DENIED = 13;
const ERRNO_WRONG_TYPE = 91;
const ERRNO_REFUSED = 111;

// What php.ini's auto_prepend_file has printed: the endpoint's headers would come too late in the same way.
$began = headers_sent($began_file, $began_line) ? "$began_file, line $began_line" : '';
$key = getenv('HANDOFF_DOCTOR_KEY');
if (!is_string($key) || $key === '' || !hash_equals($key, is_string($_GET['key'] ?? null) ? $_GET['key'] : '')) {
    http_response_code(404);
    header('Content-Type: text/plain');
    exit("Set HANDOFF_DOCTOR_KEY for PHP, and ask with ?key= and its value.\n");
}
$socket = getenv('HANDOFF_SOCKET') ?: DEFAULT_SOCKET;
header('Cache-Control: no-store');

/** Returns a status and what to do. */
function look_at_module(): array
{
    if (($_SERVER['SOCKET_HANDOFF'] ?? '') === '1') {
        return ['ok', 'mod_socket_handoff is on for this request'];
    }
    if (strpos($_SERVER['SERVER_PROTOCOL'] ?? '', 'HTTP/2') === 0) {
        return ['failed', 'HTTP/2 reaches httpd, and one stream of it cannot be handed over: set '
            . 'SocketHandoffRequireHttp11 On for this location'];
    }
    return ['failed', 'SOCKET_HANDOFF is not set: load mod_socket_handoff, set SocketHandoffEnabled On for this '
        . 'address, and over HTTPS load mod_socket_handoff_tls. httpd -M lists what is loaded'];
}

/** A daemon's socket takes messages, so that a connection of PHP's kind is refused only after all else was checked. */
function look_at_socket(string $socket): array
{
    $connection = @stream_socket_client("unix://$socket", $errno, $error, 1);
    if ($connection !== false) {
        fclose($connection);
        return ['warning', "$socket takes a stream: right for a daemon with --socket-type stream, wrong for any "
            . "other socket, such as php-fpm's"];
    }
    switch ($errno) {
        case ERRNO_WRONG_TYPE:
            return ['ok', "$socket is there, and PHP's user may connect"];
        case ERRNO_NOT_FOUND:
            return ['failed', "$socket does not exist: start the daemon, or set HANDOFF_SOCKET to its path. In "
                . "containers, mount its directory. systemd's PrivateTmp= hides /tmp"];
        case ERRNO_DENIED:
            return ['failed', "PHP's user may not connect to $socket: give the socket a group that httpd's user "
                . 'is in (server.socket_group, --socket-mode 0660), and let it enter the directory'];
        case ERRNO_REFUSED:
            return ['failed', "nobody listens on $socket: start the daemon"];
        default:
            return ['failed', "$socket: $error"];
    }
}

function look_at_php(string $began): array
{
    if (version_compare(PHP_VERSION, OLDEST_PHP, '<')) {
        return ['failed', 'this is PHP ' . PHP_VERSION . ': stream.php, openai.php and the library need 8.1'];
    }
    if ($began !== '') {
        return ['failed', "something is printed before each script ($began), so that no headers can be set: see "
            . 'auto_prepend_file in php.ini, and a byte order mark before <?php'];
    }
    $limits = 'memory_limit ' . ini_get('memory_limit') . ', post_max_size ' . ini_get('post_max_size');
    return PHP_SAPI === 'fpm-fcgi'
        ? ['ok', "php-fpm: a header line ends at 8189 bytes, so long data goes in X-Handoff-Data-1, -2, ...; $limits"]
        : ['ok', PHP_SAPI . ": $limits"];
}

function look_at_data(): array
{
    $directory = $_SERVER['SOCKET_HANDOFF_DATA'] ?? '';
    if ($directory === '') {
        return ['ok', 'SocketHandoffDataPrefix is not set: data of any length goes in headers'];
    }
    return is_dir($directory) && is_writable($directory)
        ? ['ok', "$directory takes PHP's files. The streamed answer of check --apache shows whether httpd reads them"]
        : ['failed', "PHP's user cannot write to $directory (SocketHandoffDataPrefix): create it, with PHP's user as "
            . "its owner or in its group, and httpd's user in its group"];
}

$module = look_at_module();
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    if ($module[0] !== 'ok') {
        http_response_code(503);
        header('Content-Type: application/json');
        exit(json_encode(['error' => ['code' => 'handoff_unavailable', 'message' => $module[1], 'request_id' => '']]));
    }
    $handoff = json_encode([
        'prompt' => 'Count from 1 to 20, a number a line.', 'max_tokens' => 200, 'format' => 'text',
        'request_id' => 'doctor-' . bin2hex(random_bytes(4)),
    ]);
    header('X-Socket-Handoff: ' . $socket);
    // As long data goes: httpd's user must be able to read and to remove the file.
    $file = ($_SERVER['SOCKET_HANDOFF_DATA'] ?? '') . '/doctor-' . bin2hex(random_bytes(8)) . '.json';
    $written = isset($_SERVER['SOCKET_HANDOFF_DATA']) && @file_put_contents($file, $handoff) && chmod($file, 0640);
    header($written ? "X-Handoff-Data-File: $file" : "X-Handoff-Data: $handoff");
    exit;
}

$checks = [
    'module' => $module, 'socket' => look_at_socket($socket), 'PHP' => look_at_php($began), 'long data' => look_at_data(),
];
if (strpos($_SERVER['HTTP_ACCEPT'] ?? '', 'application/json') !== false) {
    header('Content-Type: application/json');
    $lines = [];
    foreach ($checks as $name => list($status, $detail)) {
        $lines[] = ['name' => $name, 'status' => $status, 'detail' => $detail];
    }
    exit(json_encode(['checks' => $lines], JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE));
}
header('Content-Type: text/plain; charset=utf-8');
foreach ($checks as $name => list($status, $detail)) {
    printf("%-7s  %-9s  %s\n", $status, $name, $detail);
}
echo "To see one answer streamed too: streaming-daemon check --apache 'THIS ADDRESS'\n";
